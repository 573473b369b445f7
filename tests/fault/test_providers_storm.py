"""Twenty Experts at once, and a vendor that refuses them all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from perstack.domain.settings import ProviderSettings, Settings
from perstack.engine.plan import JobOutcome
from perstack.providers.breaker import FAILURES, Breakers
from perstack.providers.factory import open_model
from tests.fakes.engine import World, done, expert
from tests.fakes.model_server import Answer, ModelServer, Seen, model_server
from tests.fakes.model_wire import Call, Refusal, Reply

pytestmark = pytest.mark.anyio

EXPERTS = 20
WORKERS = tuple(f"worker-{number}" for number in range(EXPERTS))
DOWN = Refusal(529, "overloaded", "overloaded_error")
DONE = Reply(text=["done"], calls=[Call("attemptCompletion", {})])


def of_the_lead(seen: Seen) -> bool:
    return "You are lead." in json.dumps(seen.body["system"])


def a_team(workers: Callable[[Seen], Answer]) -> Callable[[Seen], Answer]:
    """The lead asks all workers at once and then is done; `workers` says what becomes of them."""

    def decide(seen: Seen) -> Answer:
        if not of_the_lead(seen):
            return workers(seen)
        if seen.assistant_messages == 0:
            return Reply(calls=[Call(worker, {"query": "go"}) for worker in WORKERS])
        return DONE

    return decide


def asked_by_workers(server: ModelServer) -> int:
    return sum(not of_the_lead(seen) for seen in server.requests)


async def run_job(
    server: ModelServer,
    workspace: Path,
    breakers: Breakers,
    *,
    retries: int,
    parallel: int = 128,
) -> tuple[World, JobOutcome]:
    settings = Settings(provider=ProviderSettings(name="anthropic", base_url=server.url))
    vendor = open_model(
        settings,
        env={"ANTHROPIC_API_KEY": "key"},
        base_dir=workspace,
        breakers=breakers,
    )
    world = World(
        workspace,
        lambda _, __: done(),
        (expert("lead", *WORKERS), *(expert(worker) for worker in WORKERS)),
        max_retries=retries,
        max_parallel=parallel,
        vendor=vendor,
    )
    try:
        return world, await world.start()
    finally:
        await vendor.aclose()


async def test_row_150_a_dead_vendor_is_asked_once_by_each_and_then_left_alone(
    tmp_path: Path,
) -> None:
    stopped_clock = Breakers(now_s=lambda: 0.0, cool_down_s=0.05)
    async with model_server(decide=a_team(lambda _: DOWN)) as server:
        world, job = await run_job(server, tmp_path, stopped_clock, retries=2)
    # Without the breaker each would ask three times.
    assert FAILURES <= asked_by_workers(server) <= EXPERTS
    failed = [text for _, text, is_error in world.heard.results() if is_error]
    assert len(failed) == EXPERTS
    assert all("Max retries (2) exceeded" in text for text in failed)
    assert all("is left alone for another" in text for text in failed)
    assert job.outcome.ending == "failed"


async def test_all_go_on_once_the_vendor_is_back(tmp_path: Path) -> None:
    refused: list[Seen] = []

    def recovers(seen: Seen) -> Answer:
        if len(refused) < FAILURES + 2:
            refused.append(seen)
            return DOWN
        return DONE

    async with model_server(decide=a_team(recovers)) as server:
        world, job = await run_job(server, tmp_path, Breakers(cool_down_s=0.05), retries=8)
    assert job.outcome.ending == "completed"
    assert not [text for _, text, is_error in world.heard.results() if is_error]


async def test_row_l18_all_refused_with_429_no_more_are_asked_at_a_time_than_may_be(
    tmp_path: Path,
) -> None:
    busy = Refusal(429, "slow down", "rate_limit_error", headers={"retry-after": "0.1"})
    seen_before: set[str] = set()

    def throttled(seen: Seen) -> Answer:
        worker = json.dumps(seen.body["system"])
        if worker not in seen_before:
            seen_before.add(worker)
            return busy
        return Reply(text=DONE.text, calls=DONE.calls, latency_s=0.05)

    async with model_server(decide=a_team(throttled)) as server:
        world, job = await run_job(server, tmp_path, Breakers(), retries=3, parallel=6)
    assert job.outcome.ending == "completed"
    assert not [text for _, text, is_error in world.heard.results() if is_error]
    assert 1 < server.max_in_flight <= 6
    assert asked_by_workers(server) == 2 * EXPERTS

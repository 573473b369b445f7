"""A vendor that fails now and then, in every way: the job ends as if it never had."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from pydantic import JsonValue

from tests.fakes.engine import FakeSkills, NoDelay, World, done, expert
from tests.fakes.model_server import Answer, Decide, Seen, model_server
from tests.fakes.model_wire import HTML_502, Call, Fault, FaultKind, Refusal, Reply
from tests.fakes.vendors import Vendor, connected

pytestmark = pytest.mark.anyio

STEPS: Final = 100
PROBABILITY: Final = 0.2
BREAKS: Final[tuple[FaultKind, ...]] = (
    "reset_mid",
    "close_mid",
    "bad_chunk",
    "short_body",
    "sse_error",
    "bad_json",
    "no_terminator",
)
REFUSALS: Final = (
    Refusal(429, "slow down", "rate_limit_error"),
    Refusal(500, "oh", "api_error"),
    Refusal(529, "overloaded", "overloaded_error"),
    HTML_502,
)
VENDORS: Final[tuple[Vendor, ...]] = ("anthropic", "openai", "responses")


def unreliable(seed: int) -> Decide:
    """Call `record` a hundred times with the step's number, failing at random before that."""
    rng = random.Random(seed)

    def decide(seen: Seen) -> Answer:
        step = seen.assistant_messages
        name, args = ("record", {"step": step}) if step < STEPS else ("attemptCompletion", {})
        right = Reply(["…"], calls=[Call(name, args, f"call_{step}")])
        if rng.random() >= PROBABILITY:
            return right
        if rng.random() < 0.3:
            return rng.choice(REFUSALS)
        fault = Fault(rng.choice(BREAKS), after=rng.randint(3, 5))
        return Reply(right.text, calls=right.calls, fault=fault)

    return decide


RUNS: Final = [
    *(pytest.param(vendor, seed) for seed, vendor in enumerate(VENDORS)),
    *(pytest.param(VENDORS[seed % 3], seed, marks=pytest.mark.long) for seed in range(3, 50)),
]


@pytest.mark.parametrize(("vendor", "seed"), RUNS)
async def test_row_l17_every_step_is_made_once_whatever_fails(
    tmp_path: Path, vendor: Vendor, seed: int
) -> None:
    recorded: list[JsonValue] = []

    async def record(args: Mapping[str, JsonValue]) -> str:
        recorded.append(args["step"])
        return "{}"

    async with (
        model_server(decide=unreliable(seed)) as server,
        connected(vendor, server.url) as model,
    ):
        world = World(
            tmp_path,
            lambda _, __: done(),
            (expert("solo"),),
            skills=FakeSkills({"record": record}),
            max_steps=STEPS + 5,
            max_retries=20,
            rng=NoDelay(),
            vendor=model,
        )
        job = await world.start()
    assert job.outcome.ending == "completed"
    assert recorded == list(range(STEPS))
    assert len(world.heard.types("retry")) >= STEPS * PROBABILITY / 3

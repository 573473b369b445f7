"""What a vendor does wrong, seen from the run: waited for, answered, bounded, and gone on from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.events import Delta, Retry
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.engine.generation import Speech, generate
from perstack.errors import ProviderError
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest, Spoken
from tests.fakes.conversation import request
from tests.fakes.engine import FakeModel, FakeSkills, NoDelay, World, done, expert
from tests.fakes.model_server import Answer, ModelServer, Seen, model_server
from tests.fakes.model_wire import HTML_502, Call, Fault, Refusal, Reply
from tests.fakes.vendors import Vendor, connected

pytestmark = pytest.mark.anyio

VENDORS: Final[tuple[Vendor, ...]] = ("anthropic", "openai", "responses")
WELL: Final = Reply(["well again"])
RETRIES: Final = 2


@asynccontextmanager
async def solo(
    tmp_path: Path,
    *said: Answer,
    vendor: Vendor = "anthropic",
    then: Callable[[Seen], Answer] | None = None,
    skills: FakeSkills | None = None,
) -> AsyncGenerator[tuple[World, ModelServer]]:
    """An Expert over the vendor's wire; the server says all of `said`, then what `then` returns."""
    async with (
        model_server(*said, decide=then) as server,
        connected(vendor, server.url) as model,
    ):
        world = World(
            tmp_path,
            lambda _, __: done(),
            (expert("solo"),),
            skills=skills or FakeSkills(),
            max_retries=RETRIES,
            rng=NoDelay(),
            vendor=model,
        )
        yield world, server


def retries(world: World) -> list[Retry]:
    bodies = [event.body for event in world.heard.events]
    return [body for body in bodies if isinstance(body, Retry)]


@pytest.mark.parametrize(
    ("said", "waited_ms"),
    [("0.3", 300), ("Fri, 20 Nov 2020 12:00:30 GMT", 0), ("soon", 0), ("-5", 0)],
)
async def test_row_l1_a_vendor_that_is_busy_is_asked_again_after_what_it_says(
    tmp_path: Path, said: str, waited_ms: int
) -> None:
    busy = Refusal(429, "slow down", "rate_limit_error", {"retry-after": said})
    async with solo(tmp_path, busy, WELL) as (world, server):
        ended = await world.start()
        assert len(server.requests) == 2
    assert ended.outcome.text == "well again"
    assert [retry.delay_ms for retry in retries(world)] == [waited_ms]


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    "down",
    [
        Refusal(529, "overloaded", "overloaded_error"),
        Refusal(500, "oh", "api_error"),
        HTML_502,
        Reply(fault=Fault("refuse")),
    ],
    ids=["529", "500", "html 502", "refuse"],
)
async def test_row_l2_twice_down_is_survived_and_always_down_can_be_gone_on_from(
    tmp_path: Path, vendor: Vendor, down: Answer
) -> None:
    often = [down] * RETRIES
    async with solo(tmp_path, *often, WELL, vendor=vendor) as (world, server):
        first = await world.start()
        server.add(*often, down, WELL)
        failed = await world.start()
        again = await world.go_on(Continuation(job_id=failed.job_id))
    assert first.outcome.text == "well again"
    assert failed.outcome.ending == "failed"
    assert failed.outcome.error is not None
    assert failed.outcome.error.message.startswith(f"Max retries ({RETRIES}) exceeded")
    assert again.outcome.text == "well again"
    assert len(retries(world)) == 2 * RETRIES


@pytest.mark.parametrize("vendor", VENDORS)
async def test_row_l8_two_hundred_calls_with_one_id_are_each_made_and_answered_once(
    tmp_path: Path, vendor: Vendor
) -> None:
    noted: list[str] = []
    busy, most = 0, 0

    async def note(args: Mapping[str, JsonValue]) -> str:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await anyio.lowlevel.checkpoint()
        busy -= 1
        noted.append(str(args["n"]))
        return "noted"

    flood = Reply(calls=[Call("note", {"n": n}, "same") for n in range(200)])
    skills = FakeSkills({"note": note})
    async with solo(tmp_path, flood, WELL, vendor=vendor, skills=skills) as (world, _):
        ended = await world.start()
    assert ended.outcome.text == "well again"
    assert sorted(noted) == sorted(map(str, range(200)))
    answered = [
        event.body.result.id for event in world.heard.events if event.body.type == "toolReturned"
    ]
    assert len(set(answered)) == len(answered) == 200
    assert 1 < most <= 16


async def test_row_l12_an_answer_that_trickles_without_end_is_given_up_at_the_timeout() -> None:
    class Trickle(FakeModel):
        async def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
            while True:
                yield Spoken("text", "drip ")
                await anyio.lowlevel.checkpoint()

    blank = Delta(
        job_id=JobId("job"),
        run_id=RunId("run"),
        expert_key=ExpertKey("solo"),
        step_number=1,
        stream="text",
        kind="start",
    )
    heard: list[Delta] = []
    speech = Speech(blank, heard.append, final=False)
    with pytest.raises(ProviderError, match=r"no complete answer within 0\.05 s") as caught:
        await generate(Trickle(lambda _, __: done()), request(), speech, timeout_s=0.05)
    assert caught.value.retryable
    assert [delta.kind for delta in heard][-1] == "end"


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("answer", "ending", "asked"),
    [
        (Reply(["so far"], stop_reason="length"), "completed", 1),
        (Reply(["I will not"], stop_reason="refusal"), "failed", 1),
        (Reply(stop_reason="refusal"), "failed", 1),
        (Reply(["said"], stop_reason="nonsense"), "completed", 1),
        (Reply(stop_reason="nonsense"), "failed", 1 + RETRIES),
        (Reply(stop_reason="tool calls"), "failed", 1 + RETRIES),
        (Reply(), "failed", 1 + RETRIES),
    ],
)
async def test_row_l14_every_way_to_stop_has_an_outcome_after_a_bounded_number_of_requests(
    tmp_path: Path, vendor: Vendor, answer: Reply, ending: str, asked: int
) -> None:
    said = Reply(answer.text, stop_reason=in_its_words(vendor, answer.stop_reason))
    async with solo(tmp_path, vendor=vendor, then=lambda _: said) as (world, server):
        ended = await world.start()
        assert len(server.requests) == asked
    assert ended.outcome.ending == ending


def in_its_words(vendor: Vendor, reason: str | None) -> str | None:
    """Return how the vendor says why an answer ended; each has its own words."""
    words: dict[str, dict[Vendor, str]] = {
        "length": {
            "anthropic": "max_tokens",
            "openai": "length",
            "responses": "max_output_tokens",
        },
        "refusal": {"anthropic": "refusal"},
        "tool calls": {"anthropic": "tool_use", "openai": "tool_calls", "responses": "tool_calls"},
    }
    usual = "content_filter" if reason == "refusal" else reason
    return words.get(reason or "", {}).get(vendor, usual)

"""A vendor that fails under the whole program: steps are asked for again, tools run once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.fakes.cli import Program, Ran, assert_calls_answered, by_expert, calls, finishes
from tests.fakes.model_server import Answer, model_server
from tests.fakes.model_wire import HTML_502, Call, Fault, Refusal, Reply

pytestmark = pytest.mark.anyio

EFFECTS: Final = "effects.txt"
LONG: Final = pytest.mark.long
SOLO: Final = '[experts."solo"]\ninstruction = "You are solo."\n'
APPEND: Final = Call("appendTextFile", {"path": EFFECTS, "text": "once\n"}, "toolu_append")
BROKEN: Final[dict[str, Answer]] = {
    "no_terminator": Reply(calls=[APPEND], fault=Fault("no_terminator", after=2)),
}
MORE_BROKEN: Final[dict[str, Answer]] = {
    "reset_mid": Reply(calls=[APPEND], fault=Fault("reset_mid", after=4)),
    "529": Refusal(529, "overloaded", "overloaded_error"),
    "cut in the call": Reply(calls=[APPEND], fault=Fault("no_terminator", after=4)),
    "close_mid": Reply(calls=[APPEND], fault=Fault("close_mid", after=4)),
    "bad_chunk": Reply(calls=[APPEND], fault=Fault("bad_chunk", after=4)),
    "short_body": Reply(calls=[APPEND], fault=Fault("short_body", after=4)),
    "sse_error": Reply(calls=[APPEND], fault=Fault("sse_error", after=4)),
    "bad_json": Reply(calls=[APPEND], fault=Fault("bad_json", after=4)),
    "refuse": Reply(fault=Fault("refuse")),
    "hang": Reply(fault=Fault("hang")),
    "stall_mid": Reply(calls=[APPEND], fault=Fault("stall_mid", after=4)),
    "empty": Reply(),
    "length": Reply(calls=[APPEND], stop_reason="max_tokens"),
    "429": Refusal(429, "slow down", "rate_limit_error", {"retry-after": "0"}),
    "502": HTML_502,
}
CASES: Final = [
    *(pytest.param(answer, id=name) for name, answer in BROKEN.items()),
    *(pytest.param(answer, id=name, marks=LONG) for name, answer in MORE_BROKEN.items()),
]


async def run(tmp_path: Path, *said: Answer, options: tuple[str, ...] = ()) -> tuple[Ran, int]:
    """Run with what the vendor says first, then one append and the end; return the requests."""
    then = by_expert({"solo": [calls(APPEND), *finishes("Done.")]})
    (tmp_path / EFFECTS).touch()
    async with model_server(*said, decide=then) as server:
        program = Program.make(tmp_path, SOLO, base_url=server.url)
        ran = await program.run("run", "solo", "go", *options)
        assert_calls_answered(server.requests)
        return ran, len(server.requests)


@pytest.mark.parametrize("broken", CASES)
async def test_a_broken_answer_is_asked_for_again_and_none_of_it_is_run(
    tmp_path: Path, broken: Answer
) -> None:
    # Long enough for a busy machine to import an SDK in, where no silence has to be sat out.
    limit_ms = "5000" if broken in (MORE_BROKEN["hang"], MORE_BROKEN["stall_mid"]) else "60000"
    ran, requests = await run(tmp_path, broken, options=("--timeout", limit_ms))
    assert ran.code == 0, ran.stderr
    assert (tmp_path / EFFECTS).read_text() == "once\n"
    assert len(ran.all("retry")) == 1
    assert requests == 4


@pytest.mark.long
async def test_retries_end_and_the_job_goes_on_when_the_vendor_is_back(tmp_path: Path) -> None:
    down = [Refusal(503, "down", "api_error")] * 2
    async with model_server(*down, decide=by_expert({"solo": finishes("Done.")})) as server:
        program = Program.make(tmp_path, SOLO, base_url=server.url)
        ran = await program.run("run", "solo", "go", "--max-retries", "1")
        again = await program.run("run", "solo", "try again", "--continue")
    assert ran.code == 1
    assert "Max retries (1) exceeded" in ran.stderr
    assert again.code == 0
    assert again.job_id == ran.job_id


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (Call("appendTextFile", '{"path": "effects.txt", "te'), "were not a JSON object"),
        (Call("no_such_tool"), "not found"),
        pytest.param(Call("appendTextFile", '["a", "list"]'), "were not a JSON object", marks=LONG),
        pytest.param(Call("appendTextFile", {"path": 7}), "path", marks=LONG),
    ],
)
async def test_a_call_that_cannot_be_made_is_an_error_that_the_model_reads(
    tmp_path: Path, call: Call, told: str
) -> None:
    said = by_expert({"solo": [calls(call), *finishes("Done.")]})
    (tmp_path / EFFECTS).touch()
    async with model_server(decide=said) as server:
        ran = await Program.make(tmp_path, SOLO, base_url=server.url).run("run", "solo", "go")
        assert_calls_answered(server.requests)
        assert told in str(server.requests[1].body["messages"][-1])
    assert ran.code == 0
    assert (tmp_path / EFFECTS).read_text() == ""

"""Whatever a program reports, in whatever order: the run ends, and its history can be read back.

The program is `tests.fakes.programs.PlayedProgram`: it plays reports, no model is asked.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.events import CallTools, ToolReturned
from perstack.domain.messages import ExpertMessage, ToolMessage
from perstack.domain.usage import Usage
from perstack.engine.recall import recall
from perstack.ports.model import Spoken
from perstack.ports.programs import Report, Talk
from tests.fakes.engine import FakeGate, decided
from tests.fakes.programs import (
    Asking,
    PlayedProgram,
    Say,
    began,
    call,
    finished,
    played,
    returned,
    turn,
)

IDS: Final = st.sampled_from(["", "1", "2", "3", "4", "\x1b", "x" * 300])
TEXTS: Final = st.sampled_from(["", " ", "text", "sk-canary", "\ud800"])
USAGES: Final = st.builds(
    Usage,
    input_tokens=st.integers(-5, 10**12),
    output_tokens=st.integers(0, 100),
    total_tokens=st.integers(0, 100),
)
CALLS: Final = st.builds(call, IDS, st.sampled_from(["Bash", "", "a b"]))
REPORTS: Final[st.SearchStrategy[Report | Asking]] = st.one_of(
    st.builds(began, st.sampled_from(["s-1", "s-2", "", "--x"])),
    st.builds(Spoken, st.sampled_from(["text", "reasoning"]), TEXTS),
    st.lists(CALLS | TEXTS, max_size=3).flatmap(
        lambda parts: st.builds(turn, *map(st.just, parts), usage=USAGES)
    ),
    st.builds(returned, IDS, TEXTS),
    st.builds(returned, IDS, TEXTS),
    st.builds(Asking, CALLS),
)


def decide(checkpoint: ConsensusCheckpoint) -> ConsensusCheckpoint:
    return decided(checkpoint, approved=len(checkpoint.id) % 2 == 0)


async def play(reports: list[Report | Asking], workspace: Path, *, at_end: bool) -> None:
    async def script(talk: Talk, say: Say) -> None:
        del talk
        for report in reports:
            # Like the real ones it may go on before its question is answered.
            await say(report.report if isinstance(report, Asking) else report)
        if at_end:
            await say(finished("the end"))

    program = PlayedProgram(script)
    own = played(workspace, program, gate=FakeGate(verdict=decide), max_steps=1_000)
    ended = await own.start()
    assert ended.outcome.ending == ("completed" if at_end else "failed")
    assert program.ended == len(program.talks) == 1
    made = [one for e in own.heard.events if isinstance(e.body, CallTools)
            for one in e.body.new_message.tool_calls]  # fmt: skip
    got = [e.body.result.id for e in own.heard.events if isinstance(e.body, ToolReturned)]
    assert len({one.tool_call_id for one in made}) == len(made)
    assert len(set(got)) == len(got)
    assert set(got) <= {one.tool_call_id for one in made}
    job = (await own.history.list_jobs())[0]
    state = (await recall(own.history, job.id, job.coordinator_run_id)).state
    if at_end:
        assert len(got) == len(made)
        assert state.calls == ()
        roles = [
            type(one) for one in state.messages if isinstance(one, ExpertMessage | ToolMessage)
        ]
        assert roles == [ExpertMessage, ToolMessage] * (len(roles) // 2) + [ExpertMessage]
    (log,) = workspace.glob("perstack/jobs/*/runs/*/events.jsonl")
    assert "sk-canary" not in log.read_text()


@settings(max_examples=20, deadline=None)
@given(st.lists(REPORTS, max_size=14), st.booleans())
def test_any_reports_come_to_an_end_with_every_call_answered_once(
    reports: list[Report | Asking], at_end: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(lambda: play(reports, Path(folder), at_end=at_end))


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(st.lists(REPORTS, max_size=30), st.booleans())
def test_any_of_many_reports_come_to_an_end(reports: list[Report | Asking], at_end: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(lambda: play(reports, Path(folder), at_end=at_end))

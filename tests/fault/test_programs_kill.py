"""Killed at any record of a run that a program executes: at most the step in flight is lost.

The program is `tests.fakes.programs.PlayedProgram`; it keeps its session as the real ones do.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import pytest

from perstack.domain.events import Event
from perstack.domain.messages import ToolMessage, text_of
from perstack.engine.recall import recall
from perstack.ports.frontend import Continuation
from perstack.ports.programs import Talk
from tests.fakes.engine import World
from tests.fakes.programs import PlayedProgram, Say, began, call, finished, played, returned, turn
from tests.fakes.stories import lengths

pytestmark = pytest.mark.anyio

STEPS: Final = 5


@dataclass
class Session:
    """What the program has done, in its own memory, which outlives it."""

    done: list[int] = field(default_factory=list[int])

    async def script(self, talk: Talk, say: Say) -> None:
        if talk.session is None:
            self.done.clear()
        await say(began("s-1"))
        for step in range(len(self.done), STEPS):
            await say(turn(f"step {step}", call(f"c{step}"), call(f"d{step}")))
            self.done.append(step)
            await say(returned(f"c{step}", f"did {step}"))
            await say(returned(f"d{step}", f"also did {step}"))
        await say(finished("all done"))

    def program(self) -> PlayedProgram:
        return PlayedProgram(self.script, ahead=0)


@dataclass(frozen=True)
class Cut:
    records: int
    done: tuple[int, ...]
    job: bytes


async def told(workspace: Path) -> list[Cut]:
    """Run it to its end; what there was after each event."""
    workspace.mkdir()
    session = Session()
    own = played(workspace, session.program())
    cuts: list[Cut] = []

    def note(_: Event) -> None:
        (record,) = workspace.glob("perstack/jobs/*/job.json")
        (count,) = lengths(workspace).values()
        cuts.append(Cut(count, tuple(session.done), record.read_bytes()))

    own.heard.on = note
    assert (await own.start()).outcome.ending == "completed"
    return cuts


def killed(workspace: Path, cut: Cut, target: Path, torn: bool) -> None:
    shutil.copytree(workspace, target)
    (record,) = target.glob("perstack/jobs/*/job.json")
    record.write_bytes(cut.job)
    (log,) = target.glob("perstack/jobs/*/runs/*/events.jsonl")
    lines = log.read_bytes().splitlines(keepends=True)
    rest = lines[cut.records] if cut.records < len(lines) else b""
    log.write_bytes(b"".join(lines[: cut.records]) + (rest[: len(rest) // 2] if torn else b""))


async def results(own: World) -> list[str]:
    job = (await own.history.list_jobs())[0]
    state = (await recall(own.history, job.id, job.coordinator_run_id)).state
    return [
        text_of(part.contents)
        for message in state.messages
        if isinstance(message, ToolMessage)
        for part in message.contents
    ]


async def test_killed_at_any_record_it_goes_on_and_loses_no_more_than_a_step(
    tmp_path: Path,
) -> None:
    cuts = await told(tmp_path / "told")
    assert len(cuts) > 40
    for at in range(2, len(cuts) - 1):
        target, cut = tmp_path / str(at), cuts[at]
        killed(tmp_path / "told", cut, target, torn=at % 2 == 0)
        session = Session(list(cut.done))
        own = played(target, session.program())
        with anyio.fail_after(20):
            ended = await own.go_on(Continuation())
        assert ended.outcome.text == "all done", at
        kept = await results(own)
        good = [text for text in kept if text.startswith("did")]
        assert len(good) == len(set(good))
        missing = {f"did {step}" for step in range(STEPS)} - set(good)
        assert len(missing) <= 1, (at, kept)
        assert session.done == list(range(STEPS))
        # Whatever is missing is told to be in doubt, where its call is on record.
        assert all(text.startswith(("did", "also did", "In doubt")) for text in kept), (at, kept)

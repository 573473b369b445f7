"""Any story that a team can live through, told the same each time, and what a crash leaves of it.

A story says what each Expert answers at each turn. Whoever plays it again, from wherever a crash
or a stop left it, must come to the same end.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.events import Event
from perstack.domain.expert import InteractiveSkill, InteractiveTool
from perstack.domain.ids import CheckpointId, JobId, RunId, ToolCallId
from perstack.domain.messages import ExpertPart, InstructionMessage, TextPart, ToolCallPart
from perstack.domain.settings import ConsensusSettings
from perstack.engine.recall import recall
from perstack.errors import ProviderError, UsageError
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.system import Clock, SystemClock
from perstack.projection.run_state import RunState
from perstack.storage.files import Files
from tests.fakes.engine import (
    USAGE,
    FakeGate,
    FakeSkills,
    NoDelay,
    World,
    decided,
    expert,
    latest_text,
)

Key = Literal["lead", "a", "b"]
Item = Literal[
    "note", "look", "wipe", "ask", "second", "nobody", "a", "b", "risky", "attemptCompletion"
]
Ending = Literal["done", "text", "silent", "breaks"]
Hitch = Literal["empty", "cut"]
# What the engine says about an answer that it cannot use.
_ADVICE: Mapping[Hitch, str] = {
    "empty": "You gave neither text nor a tool call",
    "cut": "Your answer was cut off at the length limit",
}
_EVERY = 60


@dataclass(frozen=True)
class Turn:
    """What an Expert answers: calls, after a failure or an answer of no use if it is to be so."""

    items: tuple[Item, ...]
    fails: bool = False
    hitch: Hitch | None = None


@dataclass(frozen=True)
class Script:
    """What an Expert says. One that `breaks` fails for good; the lead is then asked once more."""

    turns: tuple[Turn, ...]
    ending: Ending


@dataclass(frozen=True)
class Story:
    """A lead with two Experts, of whom the first may delegate to the second."""

    lead: Script
    a: Script
    b: Script

    def of(self, key: str) -> Script:
        return {"lead": self.lead, "a": self.a, "b": self.b}[key]


def _turns(*names: Item) -> st.SearchStrategy[Turn]:
    items = st.lists(st.sampled_from(names), min_size=1, max_size=4)
    hitches: list[Hitch | None] = [None, "empty", "cut"]
    return st.builds(Turn, items.map(tuple), st.booleans(), st.sampled_from(hitches))


def _scripts(longest: int, *names: Item) -> st.SearchStrategy[Script]:
    turns = st.lists(_turns(*names), max_size=longest).map(tuple)
    endings: list[Ending] = ["done", "text", "silent", "breaks"]
    return st.builds(Script, turns, st.sampled_from(endings))


_TOOLS: tuple[Item, ...] = ("note", "look", "wipe", "nobody", "attemptCompletion")


def stories() -> st.SearchStrategy[Story]:
    """Any mixture of tools, delegations, questions, gates, refusals and retries."""
    return st.builds(
        Story,
        lead=_scripts(3, *_TOOLS, "ask", "second", "a", "b", "risky"),
        a=_scripts(2, *_TOOLS, "ask", "b"),
        b=_scripts(1, *_TOOLS),
    )


def lone_stories() -> st.SearchStrategy[Story]:
    """The same without delegates, to whom a limit is an answer that their lead is given."""
    nobody = st.just(Script((), "done"))
    return st.builds(Story, lead=_scripts(4, *_TOOLS, "ask", "second"), a=nobody, b=nobody)


@dataclass
class Effects:
    """What tools did to the world, and after how many events."""

    made: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    heard: int = 0

    async def note(self, args: Mapping[str, JsonValue]) -> str:
        self.made.append((f"{args['run']}/{args['key']}", self.heard))
        return f"did {args['key']}"

    def by_then(self, event: int) -> set[str]:
        """Those that may have been made when the process ended after that event was told."""
        return {key for key, heard in self.made if heard <= event}


@dataclass(frozen=True)
class Cut:
    """How many events of each run were written after one event, and the job's record then.

    `synced` is how many bytes of each run's events were certainly on the disk.
    """

    events: Mapping[RunId, int]
    record: bytes
    by: RunId | None
    synced: Mapping[RunId, int]


class SyncNoting(Files):
    """Files that remember how many bytes of each are sure to outlive the machine's power.

    What is below `folder` from the beginning is sure to: it was there after the last loss.
    """

    def __init__(self, folder: Path) -> None:
        logs = folder.glob("perstack/jobs/*/runs/*/events.jsonl")
        self.synced: dict[Path, int] = {log: log.stat().st_size for log in logs}
        self._paths: dict[int, Path] = {}

    def open(self, path: Path, flags: int) -> int:
        fd = super().open(path, flags)
        self._paths[fd] = path
        return fd

    def sync(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        super().sync(fd)
        self.synced[self._paths[fd]] = size


class Stage:
    """A world that plays a story and remembers what the disk held after each event."""

    def __init__(
        self,
        workspace: Path,
        story: Story,
        gate: FakeGate | None = None,
        *,
        files: Files | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.workspace = workspace
        workspace.mkdir(exist_ok=True)
        self.effects = Effects()
        self.files = SyncNoting(workspace)
        self._story = story
        self._failed: set[tuple[str, int]] = set()
        tools = {"note": self.effects.note, "look": _look, "wipe": self.effects.note}
        skills = FakeSkills(
            dict(tools),
            gated=frozenset({"wipe"}),
            repeatable=frozenset({"look", "attemptCompletion"}),
        )
        self.world = World(
            workspace,
            self._mind,
            (expert("lead", "a", "b", skills={"user": _USER}), expert("a", "b"), expert("b")),
            skills=skills,
            gate=gate or FakeGate(verdict=_verdict),
            consensus=ConsensusSettings(enabled=True, require_for_risk_levels=("high",)),
            max_steps=10_000,
            max_retries=5,
            rng=NoDelay(),
            files=self.files if files is None else files,
            clock=clock or SystemClock(),
        )
        self.world.heard.on = self._note
        self.cuts: list[Cut] = []

    async def play(self) -> tuple[JobId, RunState]:
        """Play the story from its beginning to its end."""
        started = await self.world.start("go")
        return started.job_id, await self.play_on(started.job_id)

    async def play_on(self, job_id: JobId) -> RunState:
        """Go on, answering what is asked, until the job is completed."""
        for _ in range(_EVERY):
            state = await self.state(job_id)
            if state.status == "completed":
                await self._mend(job_id)
                return state
            await self.world.go_on(next_words(job_id, state))
        raise AssertionError("it never came to its end")

    async def _mend(self, job_id: JobId) -> None:
        """Let a job's record that says otherwise hear that the job is completed."""
        if (await self.world.history.get_job(job_id)).status != "completed":
            with suppress(UsageError):
                await self.world.go_on(Continuation(job_id=job_id))

    async def state(self, job_id: JobId) -> RunState:
        """The coordinator's run as it stands."""
        job = await self.world.history.get_job(job_id)
        return (await recall(self.world.history, job_id, job.coordinator_run_id)).state

    def _note(self, event: Event) -> None:
        self.effects.heard += 1
        known = self.cuts[-1].events if self.cuts else lengths(self.workspace)
        (record,) = self.workspace.glob("perstack/jobs/*/job.json")
        self.cuts.append(
            Cut(
                {**known, event.run_id: event.seq + 1},
                record.read_bytes(),
                event.run_id,
                {RunId(path.parent.name): size for path, size in self.files.synced.items()},
            )
        )

    def _mind(self, request: ModelRequest, turn: int) -> Generation | Exception:
        script = self._story.of(request.expert_key)
        if not request.use_tools:
            return _says(request, turn, f"result of {request.expert_key}")
        if turn > len(script.turns):
            return self._end(request, turn, script.ending)
        said = script.turns[turn - 1]
        if said.fails and (request.expert_key, turn) not in self._failed:
            self._failed.add((request.expert_key, turn))
            return ProviderError("busy", retryable=True)
        if said.hitch is not None and _ADVICE[said.hitch] not in latest_text(request):
            return _useless(request, turn, said)
        return _says(request, turn, "", *said.items)

    def _end(self, request: ModelRequest, turn: int, ending: Ending) -> Generation | Exception:
        text = f"{request.expert_key} is done"
        match ending:
            case "done":
                return _says(request, turn, text, "attemptCompletion")
            case "text":
                return _says(request, turn, text)
            case "silent":
                return _says(request, turn, "", "attemptCompletion")
            case "breaks":
                if request.expert_key == "lead" and ("lead", 0) in self._failed:
                    return _says(request, turn, text)
                self._failed.add((request.expert_key, 0))
                return ProviderError("it broke")


def next_words(job_id: JobId, state: RunState, point: CheckpointId | None = None) -> Continuation:
    """What one says to go on from `state`: the answer to its first question, or nothing."""
    waiting = state.pending_interactive
    if state.status != "stoppedByInteractiveTool" or not waiting:
        return Continuation(job_id=job_id, checkpoint_id=point)
    answer = json.dumps({"toolCallId": waiting[0], "text": f"answer to {waiting[0]}"})
    return Continuation(job_id=job_id, checkpoint_id=point, text=answer, is_answer=True)


def crashed(stage: Stage, after: int, torn: float, target: Path) -> None:
    """Leave in `target` what a process that died after event number `after` (from 1) left.

    Of the record that it would have written next, the share `torn` (0 to 1) is there.
    """
    cut = stage.cuts[after - 1]
    shutil.copytree(stage.workspace, target)
    (record,) = target.glob("perstack/jobs/*/job.json")
    record.write_bytes(cut.record)
    writing = stage.cuts[after].by if after < len(stage.cuts) else None
    for log in target.glob("perstack/jobs/*/runs/*/events.jsonl"):
        run_id = RunId(log.parent.name)
        lines = log.read_bytes().splitlines(keepends=True)
        kept = cut.events.get(run_id, 0)
        rest = lines[kept] if run_id == writing and kept < len(lines) else b""
        log.write_bytes(b"".join(lines[:kept]) + rest[: round(torn * len(rest))])
        if not kept and not rest:
            shutil.rmtree(log.parent)


def lost_power(stage: Stage, after: int, rng: random.Random, target: Path) -> None:
    """Leave in `target` what a machine that lost its power after event number `after` left.

    Of what no sync had made sure, each run lost its end, from any byte on.
    """
    crashed(stage, after, 0.0, target)
    synced = stage.cuts[after - 1].synced
    for log in target.glob("perstack/jobs/*/runs/*/events.jsonl"):
        size = log.stat().st_size
        os.truncate(log, rng.randint(min(synced.get(RunId(log.parent.name), 0), size), size))


def lengths(workspace: Path) -> dict[RunId, int]:
    """How many records each run of the workspace has."""
    logs = workspace.glob("perstack/jobs/*/runs/*/events.jsonl")
    return {RunId(log.parent.name): log.read_bytes().count(b"\n") for log in logs}


Said = list[tuple[str, list[object]]]


def conversation(state: RunState) -> Said:
    """What was said, without ids and times: who, and what."""
    found: Said = []
    for message in state.messages:
        if isinstance(message, InstructionMessage):
            continue  # it tells the time
        dumped = message.model_dump(mode="json", exclude={"id"})
        for part in dumped["contents"]:
            if "args" in part:
                part["args"].pop("run", None)
        found.append((dumped["type"], dumped["contents"]))
    return found


def differences(told: Said, again: Said) -> list[object]:
    """Where `again` differs from `told`, but for results that are said to be in doubt."""
    if len(told) != len(again):
        return [len(told), len(again), told, again]
    found: list[object] = []
    for (who, parts), (who_again, parts_again) in zip(told, again, strict=True):
        if who != who_again or len(parts) != len(parts_again):
            found.append((parts, parts_again))
            continue
        found += [
            (part, other)
            for part, other in zip(parts, parts_again, strict=True)
            if part != other and "In doubt: the program" not in json.dumps(other)
        ]
    return found


_SCHEMA: dict[str, JsonValue] = {"type": "object"}
_USER = InteractiveSkill(
    tools={name: InteractiveTool(input_schema=_SCHEMA) for name in ("ask", "second")}
)


async def _look(args: Mapping[str, JsonValue]) -> str:
    return f"saw {args['key']}"


def _verdict(checkpoint: ConsensusCheckpoint) -> ConsensusCheckpoint:
    """Reject each call that is the second of its response, approve the others."""
    refused = tuple(
        task.id for task in checkpoint.proposed_subtasks if task.tool_call_id.endswith("-1")
    )
    return decided(checkpoint, approved=True, rejected=refused, feedback="not this one")


def _useless(request: ModelRequest, turn: int, said: Turn) -> Generation:
    if said.hitch == "empty":
        return _says(request, turn, "")
    return replace(_says(request, turn, "", *said.items), finish="length")


def _says(request: ModelRequest, turn: int, text: str, *items: Item) -> Generation:
    parts: list[ExpertPart] = [TextPart(text=text)] if text else []
    for place, item in enumerate(items):
        key = f"{request.expert_key}-{turn}-{place}"
        args: dict[str, JsonValue] = {"key": key, "run": request.run_id}
        name = "a" if item == "risky" else item
        if name in ("a", "b"):
            risk = "deploy to production" if item == "risky" else "look"
            args = {"query": f"{risk}, {key}"}
        parts.append(ToolCallPart(tool_call_id=ToolCallId(key), tool_name=name, args=args))
    return Generation(tuple(parts), "toolCalls" if items else "stop", USAGE)

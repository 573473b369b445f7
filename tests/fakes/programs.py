"""Programs that run Experts: one that plays reports, and one that is a process and plays a script.

Neither has a model: what they say and do is written in the test.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream
from pydantic import JsonValue

from perstack.domain.expert import Expert
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ExpertPart, TextPart, ToolCallPart
from perstack.domain.runtimes import ProgramName
from perstack.domain.settings import Settings
from perstack.domain.usage import NO_USAGE, Usage
from perstack.errors import ProgramError
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.programs import (
    Asks,
    Began,
    Finished,
    Hearing,
    Permission,
    Program,
    Report,
    Returned,
    Talk,
    Turn,
)
from perstack.ports.skills import ToolOutcome
from perstack.runtimes.running import Invocation, Record, running
from tests.fakes.engine import Mind, World, expert

Say = Callable[[Report], Awaitable[None]]
Script = Callable[[Talk, Say], Awaitable[None]]
PLAYED: ProgramName = "cursor"


@dataclass
class PlayedProgram:
    """Has `script` report what it likes in each talk; a `ProgramError` of the script's is heard.

    `ahead` is how many reports may be unheard, `told` how many were given, `ended` how many talks.
    """

    script: Script
    asks: Mapping[str, str] = field(default_factory=dict[str, str])
    name: ProgramName = PLAYED
    talks: list[Talk] = field(default_factory=list[Talk])
    ahead: int = 8
    ended: int = 0
    told: int = 0

    def dropped(self, talk: Talk) -> tuple[str, ...]:
        return ("nothing",) if talk.expert.delegates else ()

    def questions(self, expert: Expert) -> Mapping[str, str]:
        del expert
        return self.asks

    @asynccontextmanager
    async def talk(self, talk: Talk) -> AsyncGenerator[Hearing]:
        self.talks.append(talk)
        send, receive = anyio.create_memory_object_stream[Report | ProgramError](self.ahead)

        async def say(report: Report) -> None:
            await send.send(report)
            self.told += 1

        async def play() -> None:
            with send:
                try:
                    await self.script(talk, say)
                except ProgramError as error:
                    await send.send(error)

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(play, name="played program")
                yield _Heard(receive)
                group.cancel_scope.cancel()
        finally:
            receive.close()
            self.ended += 1


@dataclass
class _Heard:
    reports: MemoryObjectReceiveStream[Report | ProgramError]

    async def next(self) -> Report:
        try:
            report = await self.reports.receive()
        except anyio.EndOfStream as error:
            raise ProgramError("the played program said no more") from error
        if isinstance(report, ProgramError):
            raise report
        return report


@dataclass
class OneProgram:
    """Implements `ports.programs.Programs` with one program for all names."""

    program: Program

    async def ready(self, name: ProgramName, settings: Settings, env: Mapping[str, str]) -> Program:
        del name, settings, env
        return self.program


def played(
    workspace: Path,
    program: Program,
    *experts: Expert,
    mind: Mind | None = None,
    **more: object,
) -> World:
    """A world whose Expert `lead`, or whose `experts`, `program` runs; `more` is for `World`."""
    return World(
        workspace,
        mind or _unasked,
        experts or (by_program(expert("lead")),),
        programs=OneProgram(program),
        **more,  # type: ignore[arg-type]
    )


def by_program(one: Expert) -> Expert:
    """The Expert as the played program runs it."""
    return one.model_copy(update={"runtime": PLAYED})


def _unasked(request: ModelRequest, turn: int) -> Generation:
    raise AssertionError(f"the built-in runtime asked for turn {turn} of {request.expert_key}")


# ---------------------------------------------------------------- reports


def began(session: str = "s-1", model: str | None = None) -> Began:
    return Began(session, model)


def turn(*parts: ExpertPart | str, usage: Usage = NO_USAGE) -> Turn:
    """A turn; a string is text."""
    made = tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts)
    return Turn(made, usage)


def call(id_: str, tool: str = "Bash", **args: JsonValue) -> ToolCallPart:
    return ToolCallPart(tool_call_id=ToolCallId(id_), tool_name=tool, args=args)


def returned(id_: str, text: str = "done", *, is_error: bool = False) -> Returned:
    return Returned(ToolCallId(id_), ToolOutcome((TextPart(text=text),), is_error))


def finished(text: str = "the result", **more: object) -> Finished:
    return Finished(text, **more)  # type: ignore[arg-type]


@dataclass
class Asking:
    """A call that the program asks about; `answers` get what it is told."""

    part: ToolCallPart
    answers: list[Permission] = field(default_factory=list[Permission])
    told: anyio.Event = field(default_factory=anyio.Event)

    @property
    def report(self) -> Asks:
        async def answer(permission: Permission) -> None:
            self.answers.append(permission)
            self.told.set()

        return Asks(self.part, answer)

    async def permission(self) -> Permission:
        await self.told.wait()
        return self.answers[-1]


# ---------------------------------------------------------------- a process


@dataclass
class StandInProgram:
    """An executable that is started as the real ones are; its records are those of `StandInReader`.

    `argv` is what starts it, the prompt comes on its standard input.
    """

    argv: tuple[str, ...]
    name: ProgramName = PLAYED

    def dropped(self, talk: Talk) -> tuple[str, ...]:
        del talk
        return ()

    def questions(self, expert: Expert) -> Mapping[str, str]:
        del expert
        return {}

    def talk(self, talk: Talk) -> AbstractAsyncContextManager[Hearing]:
        env = {"PATH": os.environ["PATH"], **talk.env}
        started = Invocation(self.argv, env, stdin=talk.prompt)
        return running(self.name, started, StandInReader(), talk.workspace)


class StandInReader:
    """Understands one-key records: `session`, `text`, `call`, `result`, `done`."""

    def read(self, record: Record) -> Iterable[Report]:
        for key, value in record.items():
            match key:
                case "session":
                    yield began(str(value))
                case "text":
                    yield turn(str(value))
                case "call":
                    yield turn(call(str(value), "Act", value=value))
                case "result":
                    yield returned(str(value))
                case "done":
                    yield finished(str(value))
                case "bad":
                    raise LookupError(key)
                case _:
                    pass

    def ended(self, failure: ProgramError | None) -> Iterable[Report]:
        raise failure or ProgramError("it ended without a result")


Act = Literal[
    "emit", "raw", "base64", "stderr", "flood", "fill", "hang", "exit", "kill", "deaf", "children",
    "close", "read", "wait", "note",
]  # fmt: skip


def stand_in(folder: Path, *acts: tuple[Act, JsonValue], version: str = "2026.1.1") -> Path:
    """An executable that answers `--version` and else does `acts`, each with its argument.

    emit RECORD (a line of JSON)  raw TEXT  base64 BYTES  stderr TEXT  read (all of stdin)
    flood [RECORD, TIMES] (0: for ever)  fill [BYTES, "stdout" | "stderr"] (no newline; of "x")
    hang  exit CODE  kill SIGNAL  deaf (to SIGTERM)  wait FILE (until it is there)
    children N (in sessions of their own, deaf)  close (standard output)  note FILE (it is reached)
    """
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "acts.json"
    script.write_text(json.dumps(acts))
    program = folder / "stand-in"
    lines = [
        f"#!{sys.executable} -IS",
        f"VERSION, ACTS = {version!r}, {str(script)!r}",
        _STAND_IN,
    ]
    program.write_text("\n".join(lines))
    program.chmod(0o755)
    return program


_STAND_IN = """
import base64, json, os, signal, subprocess, sys, time

if "--version" in sys.argv:
    print(VERSION)
    sys.exit(0)

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def emit(record):
    sys.stdout.buffer.write(json.dumps(record).encode() + b"\\n")
    sys.stdout.buffer.flush()


def flood(record, times):
    line, made = json.dumps(record).encode() + b"\\n", 0
    while not times or made < times:
        sys.stdout.buffer.write(line.replace(b"#", b"%d" % made))
        made += 1
    sys.stdout.buffer.flush()


def fill(size, where):
    stream, piece = getattr(sys, where).buffer, b"x" * 65536
    for _ in range(size // len(piece)):
        stream.write(piece)
    stream.flush()


for act, value in json.load(open(ACTS)):
    match act:
        case "emit":
            emit(value)
        case "raw":
            sys.stdout.buffer.write(value.encode())
            sys.stdout.buffer.flush()
        case "base64":
            sys.stdout.buffer.write(base64.b64decode(value))
            sys.stdout.buffer.flush()
        case "stderr":
            sys.stderr.write(value)
            sys.stderr.flush()
        case "read":
            sys.stdin.buffer.read()
        case "flood":
            flood(*value)
        case "fill":
            fill(*value)
        case "hang":
            time.sleep(600)
        case "exit":
            sys.exit(value)
        case "kill":
            os.kill(os.getpid(), value)
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "children":
            for _ in range(value):
                subprocess.Popen(
                    [sys.executable, "-IS", "-c", DEAF],
                    start_new_session=True,
                    stdout=subprocess.DEVNULL,
                )
        case "close":
            sys.stdout.flush()
            os.close(1)
        case "note":
            open(value, "w").close()
        case "wait":
            while not os.path.exists(value):
                time.sleep(0.01)
"""

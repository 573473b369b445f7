"""What the engine asks of another agent's program that executes a run: one turn of talk at a time.

A program has its own model, tools and loop. The engine hears what it does as it does it, records
that as steps of the run, and ends it whenever the run has to stop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, JobId, RunId, ToolCallId
from perstack.domain.messages import ExpertPart, ToolCallPart
from perstack.domain.runtimes import ProgramName
from perstack.domain.settings import Settings
from perstack.domain.usage import NO_USAGE, Usage
from perstack.errors import ProgramError
from perstack.ports.model import Spoken
from perstack.ports.skills import ToolOutcome


@dataclass(frozen=True, slots=True)
class Talk:
    """What is said to a program, and all that it may need to know.

    `prompt` is what the user (or the delegating Expert) says. `session` is the program's own
    session to go on with; without one, `past` is what was said in the run so far, as text ("" for
    nothing). `model` is what somebody named, None for the program's own choice. `env` is the whole
    environment, of which a program gets what its rules allow. `experts` has the Expert's delegates.
    `branch`: another run may go on with `session`, too, so it is left as it is where that is
    possible.
    `may_ask`: questions can be put to the user (`interactiveSkill`).
    """

    job_id: JobId
    run_id: RunId
    expert: Expert
    experts: Mapping[ExpertKey, Expert]
    prompt: str
    workspace: Path
    settings: Settings
    env: Mapping[str, str] = field(repr=False)
    session: str | None = None
    branch: bool = False
    past: str = ""
    model: str | None = None
    may_ask: bool = False


@dataclass(frozen=True, slots=True)
class Began:
    """The program told its session and its model; first, and perhaps again."""

    session_id: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of its model, whole: text, thoughts and the tools that it now calls.

    `usage` is that of this answer alone, as far as the program tells.
    """

    parts: tuple[ExpertPart, ...]
    usage: Usage = NO_USAGE


@dataclass(frozen=True, slots=True)
class Returned:
    """A tool that the program called gave its result."""

    tool_call_id: ToolCallId
    outcome: ToolOutcome


@dataclass(frozen=True, slots=True)
class Permission:
    """A person's word on what a program asked to do; `feedback` says why not."""

    allowed: bool
    feedback: str | None = None


@dataclass(frozen=True, slots=True)
class Asks:
    """The program wants to do `call` and waits for `answer` to be called, once."""

    call: ToolCallPart
    answer: Callable[[Permission], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Finished:
    """The program said all it had to say. The last report.

    `usage` and `cost_usd` are those of the whole talk (NO_USAGE and None where it does not tell);
    `text` is the result. `limit`: it stopped at a limit of its own.
    """

    text: str
    usage: Usage = NO_USAGE
    cost_usd: float | None = None
    limit: bool = False


Report = Began | Spoken | Turn | Returned | Asks | Finished


@dataclass(frozen=True, slots=True)
class Installed:
    """What is known of a program on this machine.

    `problem` says in one sentence why it cannot run Experts now, `kind` which of three it is
    (upstream's words), `hint` what to type.
    """

    name: ProgramName | Literal["perstack", "docker"]
    version: str | None = None
    problem: str | None = None
    kind: Literal["cli-not-found", "auth-missing", "version-mismatch"] | None = None
    hint: str | None = None
    url: str | None = None


class Hearing(Protocol):
    """What comes of a talk."""

    async def next(self) -> Report:
        """Return the next report; after `Finished` there is none.

        Raises:
            ProgramError: the program failed, ended early, or said what nobody understands; a
                `SessionLostError` when it does not know its session any more.
        """
        ...


class Program(Protocol):
    """One other agent's program."""

    @property
    def name(self) -> ProgramName:
        """Which one."""
        ...

    def dropped(self, talk: Talk) -> tuple[str, ...]:
        """Say in short phrases what of the definition, and of the workspace, it leaves out.

        Blocks on the disk.
        """
        ...

    def questions(self, expert: Expert) -> Mapping[str, str]:
        """Return its names for the interactive tools that it is given, by ours; empty if none."""
        ...

    def talk(self, talk: Talk) -> AbstractAsyncContextManager[Hearing]:
        """Start it and say what is to be said.

        Once the context is left nothing of the program is there any more, whatever it started;
        that is shielded from cancellation and bounded in time.

        Raises:
            ProgramError: it could not be started.
        """
        ...


class Programs(Protocol):
    """The programs that can execute Experts."""

    async def ready(self, name: ProgramName, settings: Settings, env: Mapping[str, str]) -> Program:
        """Return a program that was found and can be started.

        Raises:
            ProgramError: its prerequisites are not met; says what to do.
        """
        ...


class _NoPrograms:
    async def ready(self, name: ProgramName, settings: Settings, env: Mapping[str, str]) -> Program:
        del settings, env
        raise ProgramError(f'Runtime "{name}" is not available here')


NO_PROGRAMS: Final[Programs] = _NoPrograms()

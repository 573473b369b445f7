"""Google's command line program, `gemini`, without a terminal, in its stream of JSON lines."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio.to_thread

from perstack.domain.expert import Expert
from perstack.domain.runtimes import (
    USUAL_PERMISSIONS,
    Permissions,
    ProgramName,
    ProgramSettings,
)
from perstack.ports.programs import Hearing, Talk
from perstack.runtimes.catalog import KNOWN, command_of
from perstack.runtimes.environment import program_environment
from perstack.runtimes.gathering import Gathering
from perstack.runtimes.gemini_env_files import env_files
from perstack.runtimes.gemini_records import GeminiReader
from perstack.runtimes.gemini_sessions import (
    OWN_FOLDER,
    Counting,
    Ledger,
    own_folder,
    session_file,
)
from perstack.runtimes.prompts import dropped_parts, model_told, one_prompt
from perstack.runtimes.running import Invocation, running

_KNOWN: Final = KNOWN["gemini"]
# Without a terminal nobody can be asked: what its default mode would ask about is refused.
_MODES: Final[Mapping[Permissions, str]] = {"ask": "default", "edits": "auto_edit", "all": "yolo"}
_TRUST: Final = "GEMINI_CLI_TRUST_WORKSPACE"


def open_program(settings: ProgramSettings) -> GeminiCli:
    """Return the program, started as `settings` say."""
    return GeminiCli(settings)


@dataclass(frozen=True, slots=True)
class Found:
    """What was looked up before it is started.

    `has_settings`: the workspace has a folder of settings for the program, which may start
    commands, or an env file that nobody can read. `could_be_set` are the variables that its env
    files name. `session_file` is where the session to branch from is kept.
    """

    has_settings: bool = False
    could_be_set: frozenset[str] = frozenset()
    session_file: Path | None = None


class GeminiCli:
    """Implements `ports.programs.Program`.

    Usually it may edit files unasked, and no more: shell commands are refused.
    """

    name: ProgramName = "gemini"

    def __init__(self, settings: ProgramSettings) -> None:
        self._settings = settings

    def dropped(self, talk: Talk) -> tuple[str, ...]:
        """Say what of the definition it cannot honour."""
        found = dropped_parts(talk, asks=False)
        if talk.model is None or model_told(self.name, talk) is not None:
            return found
        return (*found, f"model {talk.model} (gemini asks Google's models alone)")

    def questions(self, expert: Expert) -> Mapping[str, str]:
        """It is given no tools of ours."""
        del expert
        return {}

    def talk(self, talk: Talk) -> AbstractAsyncContextManager[Hearing]:
        """Start it for one talk."""
        return self._talk(talk)

    @asynccontextmanager
    async def _talk(self, talk: Talk) -> AsyncGenerator[Hearing]:
        found = await anyio.to_thread.run_sync(partial(look_up, talk), abandon_on_cancel=True)
        invocation = self.invocation(talk, found)
        reader = GeminiReader(talk.settings.models)
        ledger = Ledger(own_folder(talk.env))
        async with running(self.name, invocation, reader, talk.workspace) as heard:
            yield Counting(Gathering(heard), ledger, reader)

    def invocation(self, talk: Talk, found: Found) -> Invocation:
        """Return how it is started: the prompt comes on its standard input."""
        mode = _MODES[self._settings.permissions or USUAL_PERMISSIONS[self.name]]
        argv = [*command_of(_KNOWN, self._settings), "--output-format", "stream-json"]
        argv += ["--approval-mode", mode]
        if (model := model_told(self.name, talk)) is not None:
            argv.append(f"--model={model}")
        if found.session_file is not None:
            # It goes on with a copy, under a new name.
            argv.append(f"--session-file={found.session_file}")
        elif talk.session is not None:
            argv.append(f"--resume={talk.session}")
        return Invocation(tuple(argv), self._environment(talk, found), stdin=_prompt(talk))

    def _environment(self, talk: Talk, found: Found) -> Mapping[str, str]:
        # Whoever runs an Expert here trusts the folder, but not what it would have it start:
        # of a folder with settings of its own the program's user has to have said so to it.
        ours = dict.fromkeys(found.could_be_set, "")
        ours |= {"NO_COLOR": "1", "GEMINI_TELEMETRY_ENABLED": "false"}
        if not found.has_settings:
            ours[_TRUST] = "true"
        env = program_environment(
            talk.env,
            usual=(*_KNOWN.needs, *_KNOWN.usual),
            asked=self._settings.env,
            job_id=talk.job_id,
            run_id=talk.run_id,
        )
        return ours | env


def look_up(talk: Talk) -> Found:
    """Look what the workspace and the program's own records hold for a talk; reads the disk."""
    branched = talk.session if talk.branch else None
    folder = own_folder(talk.env)
    files = env_files(talk.workspace, folder.parent if folder else None)
    return Found(
        has_settings=files.unclear or (talk.workspace / OWN_FOLDER).exists(),
        could_be_set=files.names,
        session_file=session_file(folder, branched) if folder and branched else None,
    )


def _prompt(talk: Talk) -> str:
    """Return what is said to it, in which nothing is an order to the program itself.

    A text that begins with "/" would be a command, and "@name", wherever it stands, has it put a
    file of the workspace in its place; definitions and tools' results are full of such words.
    """
    said = f"## User Request\n\n{talk.prompt}" if talk.session is not None else one_prompt(talk)
    return said.replace("@", "\\@")

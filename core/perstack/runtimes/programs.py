"""Finds the program that is to execute a run, and says what it lacks before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, cast

import anyio
import anyio.to_thread

from perstack.domain.runtimes import ProgramName, ProgramSettings
from perstack.domain.settings import Settings
from perstack.errors import ProgramError
from perstack.ports.programs import Installed, Program
from perstack.runtimes.catalog import KNOWN, installed

# By the module that has its adapter, imported when one is needed.
_ADAPTERS: Final[Mapping[ProgramName, str]] = {
    "claude-code": "claude_code",
    "gemini": "gemini",
    "codex": "codex",
    "cursor": "cursor",
}


class _Adapter(Protocol):
    def open_program(self, settings: ProgramSettings) -> Program: ...


class InstalledPrograms:
    """Implements `ports.programs.Programs`; what was found is not looked for again.

    Commands of the user's own are started in `workspace`.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._found: dict[tuple[ProgramName, tuple[str, ...]], Installed] = {}
        self._looking = anyio.Lock()

    async def ready(self, name: ProgramName, settings: Settings, env: Mapping[str, str]) -> Program:
        """Return a program that was found and can be started.

        Raises:
            ProgramError: its prerequisites are not met; says what to do.
        """
        how = settings.runtime.program(name)
        # A crowd of delegates looks once; whoever lacks a key of the program's looks by itself.
        key = (name, how.command)
        async with self._looking:
            found = self._found.get(key)
            if found is None or not all(env.get(needed) for needed in KNOWN[name].needs):
                found = await installed(name, how, env, self._workspace)
            if found.problem is None:
                self._found[key] = found
        if found.problem is not None:
            see = f" See: {found.url}" if found.url else ""
            raise ProgramError(
                f'Runtime "{name}" prerequisites not met: {found.problem}',
                hint=f"{found.hint}.{see}",
            )
        module = await anyio.to_thread.run_sync(
            partial(import_module, f"perstack.runtimes.{_ADAPTERS[name]}")
        )
        return cast("_Adapter", module).open_program(how)

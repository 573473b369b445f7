"""Other models of a job's provider, opened by name when a run is changed to one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from perstack.config.cli_providers import CLI_PROVIDERS
from perstack.config.report import printable
from perstack.domain.runtimes import ProgramName
from perstack.errors import UsageError
from perstack.ports.model import ChatModel

CLOSING_S: Final = 3.0


class NamedModels:
    """Each is opened once and kept until `aclose`."""

    def __init__(self, open_: Callable[[str], Awaitable[ChatModel]]) -> None:
        self._open = open_
        self._opening = anyio.Lock()
        self._models: dict[str, ChatModel] = {}

    async def open(self, name: str) -> ChatModel:
        """Return the model.

        Raises:
            ConfigError: it cannot be opened.
        """
        async with self._opening:
            if name not in self._models:
                self._models[name] = await self._open(name)
            return self._models[name]

    async def aclose(self) -> None:
        """Close what was opened, each in bounded time."""
        models, self._models = self._models, {}
        for model in models.values():
            with anyio.move_on_after(CLOSING_S, shield=True):
                await model.aclose()


def program_or_refuse(wanted: str | None, used: str) -> ProgramName | None:
    """Return the program that is named as a provider, None for the provider in use.

    Raises:
        UsageError: another provider is named.
    """
    if wanted is not None and (program := CLI_PROVIDERS.get(wanted)) is not None:
        return program.runtime
    if wanted is not None and wanted != used:
        raise UsageError(
            f"Provider {printable(wanted)!r} is not configured",
            hint=f"perstack.toml uses {used}; another model of it can be named",
        )
    return None

"""What of everything that can execute Experts is there on this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import anyio

from perstack.config.provider_keys import has_credentials, variables_of
from perstack.domain.runtimes import ProgramName, RuntimeName
from perstack.domain.settings import Settings
from perstack.ports.programs import Installed
from perstack.runtimes.catalog import installed
from perstack.runtimes.docker import installed_docker

# In the order in which they are shown: ours first, then by how much of a definition is honoured.
_PROGRAMS: Final[tuple[ProgramName, ...]] = ("claude-code", "gemini", "codex", "cursor")
# Each look is bounded by itself; this is for one that is not heard of even so.
_WITHIN_S: Final = 30.0

Look = Callable[[], Awaitable[Installed]]


async def look_for_runtimes(
    settings: Settings, env: Mapping[str, str], workspace: Path, *, own_version: str
) -> tuple[Installed, ...]:
    """Look for all of them at once, in at most half a minute. What is missing is no error."""
    looks: dict[RuntimeName, Look] = {
        "perstack": partial(_own, settings, env, own_version),
        "docker": partial(installed_docker, settings.runtime.docker, env),
    }
    for name in _PROGRAMS:
        looks[name] = partial(installed, name, settings.runtime.program(name), env, workspace)
    found: dict[RuntimeName, Installed] = {}

    async def look(name: RuntimeName, ask: Look) -> None:
        found[name] = Installed(name, problem=f"it gave no answer within {_WITHIN_S:g} s")
        with anyio.move_on_after(_WITHIN_S):
            found[name] = await ask()

    async with anyio.create_task_group() as group:
        for name, ask in looks.items():
            group.start_soon(look, name, ask)
    return tuple(found[name] for name in looks)


async def _own(settings: Settings, env: Mapping[str, str], version: str) -> Installed:
    provider = settings.provider.name
    if has_credentials(provider, env):
        return Installed("perstack", version=version)
    lacking = " and ".join(variables_of(provider))
    return Installed(
        "perstack",
        version=version,
        problem=f"{lacking} is not set, which {provider} needs",
        kind="auth-missing",
        hint=f"export {lacking}=... or put it into .env",
    )

"""The container engine of this machine: Docker, or Podman where that is absent."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio.to_thread

from perstack.config.process_env import process_environment
from perstack.domain.runtimes import DockerSettings
from perstack.errors import ProgramError
from perstack.ports.programs import Installed
from perstack.runtimes.docker.commands import Heard, Ran, run

_ANSWERS_WITHIN_S: Final = 20.0
_VERSION: Final = re.compile(
    r"(?<!\d)\d{1,9}\.\d{1,9}(?:\.\d{1,9})?(?!\d)(?:[-+.~][0-9A-Za-z.]{1,40})?"
)
_URL: Final = "https://docs.docker.com/get-docker/"
_INSTALL: Final = "install Docker, or Podman with podman-compose"
# What steers the engine's own commands; from this process alone, never from a project's env file.
_STEERS: Final = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_.*|TMPDIR|XDG_.*|SSH_AUTH_SOCK|DOCKER_.*|BUILDKIT_.*|BUILDX_.*"
    r"|CONTAINER_HOST|CONTAINERS_.*|(?:HTTPS?|NO|ALL)_PROXY",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Engine:
    """Commands that were found. `compose` begins each command of compose; `env` is for all."""

    name: str
    version: str
    compose: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)

    @property
    def is_podman(self) -> bool:
        """Whether it is Podman, which lacks a few of Docker's options."""
        return self.name == "podman"

    async def run(
        self,
        *words: str,
        within_s: float = 60.0,
        heard: Heard | None = None,
        complained: Heard | None = None,
    ) -> Ran:
        """Run a command of the engine; see `commands.run`."""
        argv = (self.name, *words)
        return await run(argv, self.env, within_s=within_s, heard=heard, complained=complained)

    async def must(self, *words: str, what: str, within_s: float = 60.0) -> str:
        """Run a command that has to go well; return what it printed.

        Raises:
            ProgramError: it did not; `what` says what could not be done.
        """
        ran = await self.run(*words, within_s=within_s)
        if not ran.well:
            raise ProgramError(f"{what}: {ran.tail}")
        return ran.out.strip()


def steering(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the engine's own commands get."""
    return {name: value for name, value in env.items() if _STEERS.fullmatch(name)}


async def find_engine(env: Mapping[str, str]) -> Engine | Installed:
    """Return what was found, or what is missing; bounded in time."""
    env = steering(env)
    for name in ("docker", "podman"):
        if await _is_there(name, env):
            return await _look_at(name, env)
    return Installed(
        "docker",
        problem="docker was not found",
        kind="cli-not-found",
        hint=_INSTALL,
        url=_URL,
    )


async def installed_docker(settings: DockerSettings, env: Mapping[str, str]) -> Installed:
    """Look whether jobs can be driven in containers here; never raises.

    `env` says where commands are found; what steers the engine, only this process's own may say.
    """
    del settings
    found = await find_engine({**process_environment(), "PATH": env.get("PATH", "")})
    if isinstance(found, Installed):
        return found
    return Installed("docker", version=f"{found.version}" + (" (podman)" * found.is_podman))


async def open_engine(env: Mapping[str, str]) -> Engine:
    """Return the engine.

    Raises:
        ProgramError: its prerequisites are not met; says what to do.
    """
    found = await find_engine(env)
    if isinstance(found, Engine):
        return found
    raise ProgramError(
        f'Runtime "docker" prerequisites not met: {found.problem}',
        hint=f"{found.hint}. See: {found.url}",
    )


async def _is_there(command: str, env: Mapping[str, str]) -> bool:
    found = await anyio.to_thread.run_sync(shutil.which, command, os.X_OK, env.get("PATH"))
    return found is not None


async def _look_at(name: str, env: Mapping[str, str]) -> Engine | Installed:
    said = await run((name, "--version"), env, within_s=_ANSWERS_WITHIN_S)
    version = _VERSION.search(said.out)
    if not said.well or version is None:
        return Installed(
            "docker",
            problem=f"{name} --version failed: {said.tail}",
            kind="cli-not-found",
            hint=_INSTALL,
            url=_URL,
        )
    answer = await run((name, "info"), env, within_s=_ANSWERS_WITHIN_S)
    if not answer.well:
        refused = "permission denied" in answer.err.lower()
        return Installed(
            "docker",
            version=version[0],
            problem=f"the {name} engine does not answer: {(answer.tail.splitlines() or [''])[-1]}",
            kind="auth-missing" if refused else "cli-not-found",
            hint="add yourself to the group docker" if refused else "start the engine",
            url=_URL,
        )
    compose = await _compose(name, env)
    if compose is None:
        return Installed(
            "docker",
            version=version[0],
            problem=f"neither {name} compose nor {name}-compose was found",
            kind="version-mismatch",
            hint=f"install the compose plugin of {name}, or {name}-compose",
            url="https://docs.docker.com/compose/install/",
        )
    return Engine(name, version[0], compose, env)


async def _compose(name: str, env: Mapping[str, str]) -> tuple[str, ...] | None:
    candidates: Sequence[tuple[str, ...]] = ((name, "compose"), (f"{name}-compose",))
    for words in candidates:
        if await _is_there(words[0], env):
            said = await run((*words, "version"), env, within_s=_ANSWERS_WITHIN_S)
            if said.well:
                return words
    return None

"""The programs that can execute Experts: what they are called, what they need, how to get them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.abc
import anyio.to_thread

from perstack.domain.runtimes import ProgramName, ProgramSettings
from perstack.errors import ProgramError
from perstack.ports.programs import Installed
from perstack.processes.supervised import Ending, supervised
from perstack.runtimes.environment import filtered_environment

# Bounded in every part: it may say anything.
_VERSION: Final = re.compile(
    rb"(?<!\d)\d{1,9}\.\d{1,9}(?:\.\d{1,9})?(?!\d)(?:[-+.][0-9A-Za-z.]{1,40})?"
)
_ANSWERS_WITHIN_S: Final = 20.0
_MOST_BYTES: Final = 64 * 1024
# Programs are asked where nothing lies that they would read.
_ROOT: Final = Path("/")


@dataclass(frozen=True, slots=True)
class Known:
    """One program. `needs` are variables that it cannot do without, `usual` others that it gets.

    `install` is what the user types to get it, `login` to sign in, `url` where that is explained.
    """

    name: ProgramName
    command: str
    install: str
    url: str
    login: str
    needs: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()
    oldest: tuple[int, int] = (0, 0)


KNOWN: Final[Mapping[ProgramName, Known]] = {
    "cursor": Known(
        "cursor",
        "cursor-agent",
        install="curl https://cursor.com/install -fsS | bash",
        url="https://docs.cursor.com/cli",
        login="set CURSOR_API_KEY",
        needs=("CURSOR_API_KEY",),
    ),
    "claude-code": Known(
        "claude-code",
        "claude",
        install="npm install -g @anthropic-ai/claude-code",
        url="https://docs.anthropic.com/en/docs/claude-code",
        login="run claude once and sign in",
        usual=("CLAUDE_CONFIG_DIR",),
        oldest=(2, 0),
    ),
    "gemini": Known(
        "gemini",
        "gemini",
        install="npm install -g @google/gemini-cli",
        url="https://github.com/google-gemini/gemini-cli",
        login="set GEMINI_API_KEY",
        needs=("GEMINI_API_KEY",),
        usual=("GOOGLE_APPLICATION_CREDENTIALS", "GEMINI_CLI_HOME"),
        # The first that streams JSON.
        oldest=(0, 11),
    ),
    "codex": Known(
        "codex",
        "codex",
        install="npm install -g @openai/codex",
        url="https://github.com/openai/codex",
        login="run codex login",
        usual=("CODEX_HOME",),
    ),
}


def command_of(known: Known, settings: ProgramSettings) -> tuple[str, ...]:
    """Return the argument vector that starts the program."""
    return settings.command or (known.command,)


async def installed(
    name: ProgramName, settings: ProgramSettings, env: Mapping[str, str], workspace: Path = _ROOT
) -> Installed:
    """Look whether a program is there, which version, and what it lacks; bounded in time.

    A command of the user's own is started in `workspace`, as it will be for an Expert.
    """
    known = KNOWN[name]
    command = command_of(known, settings)
    folder = workspace if settings.command else _ROOT
    # A command of the user's own is not mended by installing the usual one.
    how = f"correct command in [runtimes.{name}]" if settings.command else known.install
    missing = partial(Installed, name, kind="cli-not-found", hint=how, url=known.url)
    if (
        why := await anyio.to_thread.run_sync(_why_missing, command[0], env.get("PATH"), folder)
    ) is not None:
        return missing(problem=why)
    theirs = filtered_environment(env, usual=(*known.needs, *known.usual), asked=settings.env)
    try:
        said = await _version_said(command, theirs, folder)
    except ProgramError as error:
        return missing(problem=error.message)
    found = _VERSION.search(said)
    version = found[0].decode() if found else None
    if version is None or _numbers(version) < known.oldest:
        oldest = ".".join(map(str, known.oldest))
        why = "does not say its version" if version is None else f"is older than {oldest}"
        return Installed(
            name,
            version=version,
            problem=f"{command[0]} {why}",
            kind="version-mismatch",
            hint=how,
            url=known.url,
        )
    if lacking := [needed for needed in known.needs if not env.get(needed)]:
        return Installed(
            name,
            version=version,
            problem=f"{', '.join(lacking)} is not set",
            kind="auth-missing",
            hint=known.login,
            url=known.url,
        )
    return Installed(name, version=version)


def _why_missing(command: str, path: str | None, folder: Path) -> str | None:
    """Return why a command cannot be started, None when it can. Blocks on the disk."""
    found = str(folder / command) if os.sep in command else command
    if shutil.which(found, os.X_OK, path) is not None:
        return None
    there = shutil.which(found, os.F_OK, path) is not None
    return f"{command} {'is not executable' if there else 'was not found'}"


async def _version_said(command: tuple[str, ...], env: Mapping[str, str], folder: Path) -> bytes:
    said: bytes | None = None
    ending = Ending()
    try:
        cwd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ProgramError(f"{folder} cannot be worked in: {error.strerror}") from error
    try:
        with anyio.move_on_after(_ANSWERS_WITHIN_S):
            async with (
                supervised(
                    (*command, "--version"), env=env, cwd=cwd, failure=ProgramError
                ) as process,
                anyio.create_task_group() as group,
            ):
                group.start_soon(_passed_over, process.stderr, name="--version: stderr")
                said = await _first_bytes(process.stdout)
                if len(said) <= _MOST_BYTES:
                    ending = await process.wait()
                group.cancel_scope.cancel()
    finally:
        os.close(cwd)
    if said is None or (len(said) <= _MOST_BYTES and not ending.is_known):
        raise ProgramError(f"{command[0]} --version gave no answer within {_ANSWERS_WITHIN_S:g} s")
    if len(said) > _MOST_BYTES:
        raise ProgramError(f"{command[0]} --version says too much to be a version")
    if ending.code != 0:
        raise ProgramError(f"{command[0]} --version {ending.words}")
    return said


async def _first_bytes(stream: anyio.abc.ByteReceiveStream) -> bytes:
    """Return what the stream says, or a little more than is read of it."""
    said = b""
    async for piece in stream:
        said += piece
        if len(said) > _MOST_BYTES:
            break
    return said


async def _passed_over(stream: anyio.abc.ByteReceiveStream) -> None:
    async for _ in stream:
        pass


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(re.sub(r"\D.*", "", minor) or 0)

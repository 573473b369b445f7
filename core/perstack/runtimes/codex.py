"""OpenAI's command line program, `codex exec`, in its stream of JSON lines."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Final

import anyio.to_thread

from perstack.domain.expert import Expert
from perstack.domain.runtimes import Permissions, ProgramName, ProgramSettings
from perstack.domain.usage import NO_USAGE
from perstack.ports.programs import Hearing, Talk
from perstack.runtimes.catalog import KNOWN, command_of
from perstack.runtimes.codex_reader import CodexReader
from perstack.runtimes.codex_sessions import counted_before, home_of
from perstack.runtimes.environment import program_environment
from perstack.runtimes.prompts import (
    dropped_parts,
    instruction_text,
    model_told,
    one_prompt,
    past_section,
)
from perstack.runtimes.running import Invocation, running

_KNOWN: Final = KNOWN["codex"]
_SANDBOX: Final[Mapping[Permissions, str]] = {
    "ask": "read-only",
    "edits": "workspace-write",
    "all": "danger-full-access",
}
# It reads a key from the second only; the first is what everybody calls it.
_KEYS: Final = ("OPENAI_API_KEY", "CODEX_API_KEY")
# Linux takes no argument of 128 KiB or more.
_LONGEST_INSTRUCTION: Final = 100_000


def open_program(settings: ProgramSettings) -> Codex:
    """Return the program, started as `settings` say."""
    return Codex(settings)


class Codex:
    """Implements `ports.programs.Program`."""

    name: ProgramName = "codex"

    def __init__(self, settings: ProgramSettings) -> None:
        self._settings = settings

    def dropped(self, talk: Talk) -> tuple[str, ...]:
        """Say what of the definition it cannot honour."""
        found = dropped_parts(talk, asks=False)
        if talk.model is not None and model_told(self.name, talk) is None:
            found = (*found, f"model {talk.model} (it asks those of OpenAI)")
        return found

    def questions(self, expert: Expert) -> Mapping[str, str]:
        """It is given no tools of ours."""
        del expert
        return {}

    def talk(self, talk: Talk) -> AbstractAsyncContextManager[Hearing]:
        """Start it for one talk."""
        return self._talk(talk)

    @asynccontextmanager
    async def _talk(self, talk: Talk) -> AsyncGenerator[Hearing]:
        invocation = self.invocation(talk)
        before = NO_USAGE
        if talk.session is not None:
            look = partial(counted_before, home_of(invocation.env), talk.session, whole=talk.branch)
            before = await anyio.to_thread.run_sync(look)
        reader = CodexReader(model_told(self.name, talk), before)
        async with running(self.name, invocation, reader, talk.workspace) as hearing:
            yield hearing

    def invocation(self, talk: Talk) -> Invocation:
        """Return how it is started: the prompt comes on its standard input."""
        env = self._environment(talk)
        argv = [*command_of(_KNOWN, self._settings), "exec"]
        if talk.session is not None:
            # Whoever else goes on with the session finds it as it was.
            argv.append("fork" if talk.branch else "resume")
        argv += ["--json", "--skip-git-repo-check"]
        sandbox = _SANDBOX[self._settings.permissions or "edits"]
        # Nobody is there whom it could ask.
        for key, value in (("sandbox_mode", sandbox), ("approval_policy", "never")):
            argv += ["-c", _setting(key, value)]
        for name in (name for name in _KEYS if name in env):
            # The key is for its model; commands that the model thinks of need not see it.
            argv += ["-c", _setting(f"shell_environment_policy.set.{name}", "")]
        if (model := model_told(self.name, talk)) is not None:
            argv += ["-m", model]
        instruction, prompt = _said(talk)
        if instruction is not None:
            argv += ["-c", _setting("developer_instructions", instruction)]
        argv += ["--", *([talk.session] if talk.session is not None else []), "-"]
        return Invocation(tuple(argv), env, stdin=prompt)

    def _environment(self, talk: Talk) -> dict[str, str]:
        env = program_environment(
            talk.env,
            usual=_KNOWN.usual,
            asked=self._settings.env,
            job_id=talk.job_id,
            run_id=talk.run_id,
        )
        if (key := env.get(_KEYS[0])) is not None:
            env.setdefault(_KEYS[1], key)
        return env


def _said(talk: Talk) -> tuple[str | None, str]:
    """Return the instruction, None if the prompt holds it, and the prompt.

    A session keeps the instruction that it was begun with.
    """
    if talk.session is not None:
        return None, talk.prompt
    instruction = instruction_text(replace(talk, past=""))
    if not instruction or len(instruction.encode("utf-8", "replace")) > _LONGEST_INSTRUCTION:
        return None, one_prompt(talk)
    return instruction, "\n\n".join(part for part in (past_section(talk), talk.prompt) if part)


def _setting(key: str, value: str) -> str:
    """Return a setting of its configuration file with a text as its value, in TOML."""
    return f"{key}={json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")

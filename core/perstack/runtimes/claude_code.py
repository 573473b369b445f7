"""Anthropic's command line program, `claude`, in its headless mode."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from pydantic import JsonValue

from perstack.domain.expert import Expert, InteractiveSkill
from perstack.domain.runtimes import Permissions, ProgramName, ProgramSettings
from perstack.errors import ProgramError
from perstack.ports.programs import Hearing, Talk
from perstack.runtimes.catalog import KNOWN, command_of
from perstack.runtimes.claude_gate import SERVER, Door, Gate, Question, permission_tool, serving
from perstack.runtimes.claude_reader import ClaudeReader
from perstack.runtimes.environment import program_environment
from perstack.runtimes.prompts import dropped_parts, instruction_text
from perstack.runtimes.running import Invocation, running

_KNOWN: Final = KNOWN["claude-code"]
_PREFIX: Final = f"mcp__{SERVER}__"
# An argument may have 128 KiB on Linux.
_LONGEST_ARGUMENT: Final = 100_000
# Nobody who is asked should be cut short, in milliseconds.
_A_WEEK: Final = 7 * 24 * 3_600_000
# Nothing of what it does unasked: replace itself, report to its maker.
_QUIET: Final = (
    "DISABLE_AUTOUPDATER",
    "DISABLE_TELEMETRY",
    "DISABLE_ERROR_REPORTING",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
)
_MODES: Final[Mapping[Permissions, tuple[str, ...]]] = {
    "ask": ("--permission-mode=default",),
    "edits": ("--permission-mode=acceptEdits",),
    "all": ("--dangerously-skip-permissions",),
}
# They ask the user in ways of their own, which nobody would see.
_UNSEEN: Final = "AskUserQuestion,EnterPlanMode,ExitPlanMode"


def open_program(settings: ProgramSettings) -> ClaudeCode:
    """Return the program, started as `settings` say; by default it asks before it does things."""
    return ClaudeCode(settings)


@dataclass(frozen=True, slots=True)
class Files:
    """What a talk has in a folder of its own: its MCP servers, a long instruction."""

    servers: Path | None = None
    instruction: Path | None = None


class ClaudeCode:
    """Implements `ports.programs.Program`."""

    name: ProgramName = "claude-code"

    def __init__(self, settings: ProgramSettings) -> None:
        self._settings = settings
        self._permissions: Permissions = settings.permissions or "ask"

    def dropped(self, talk: Talk) -> tuple[str, ...]:
        """Say what of the definition it cannot honour."""
        found = dropped_parts(talk, asks=True)
        if talk.model is not None and not _is_its_own(talk):
            found += (f"model {talk.model} (it has Anthropic's alone)",)
        return found

    def questions(self, expert: Expert) -> Mapping[str, str]:
        """Return the names under which our MCP server offers the interactive tools, by ours."""
        return {one.name: _PREFIX + one.name for one in _questions(expert)}

    def talk(self, talk: Talk) -> AbstractAsyncContextManager[Hearing]:
        """Start it for one talk, with a server that it asks."""
        return self._talking(talk)

    @asynccontextmanager
    async def _talking(self, talk: Talk) -> AsyncGenerator[Hearing]:
        questions = _questions(talk.expert) if talk.may_ask else ()
        gate = Gate(ClaudeReader(), questions)
        async with AsyncExitStack() as stack:
            door: Door | None = None
            if questions or self._permissions != "all":
                door = await stack.enter_async_context(serving(gate))
                stack.callback(gate.close)
            files = await stack.enter_async_context(_files(door, instruction_text(talk)))
            started = running(self.name, self.invocation(talk, files), gate, talk.workspace)
            heard = await stack.enter_async_context(started)
            gate.open(heard)
            yield heard

    def invocation(self, talk: Talk, files: Files) -> Invocation:
        """Return how it is started: the prompt comes on its standard input."""
        argv = [*command_of(_KNOWN, self._settings), "-p", "--output-format", "stream-json"]
        argv += ["--verbose", "--include-partial-messages", *_MODES[self._permissions]]
        argv += [f"--disallowedTools={_UNSEEN}"]
        asked = tuple(self.questions(talk.expert)) if talk.may_ask else ()
        if files.servers is not None:
            argv += [f"--mcp-config={files.servers}"]
        if files.servers is not None and self._permissions != "all":
            argv += [f"--permission-prompt-tool={_PREFIX}{permission_tool(asked)}"]
        if asked:
            argv += ["--allowedTools=" + ",".join(_PREFIX + name for name in asked)]
        if files.instruction is not None:
            argv += [f"--append-system-prompt-file={files.instruction}"]
        elif instruction := instruction_text(talk):
            argv += [f"--append-system-prompt={instruction}"]
        if talk.model is not None and _is_its_own(talk):
            argv += [f"--model={talk.model}"]
        if talk.session is not None:
            argv += [f"--resume={talk.session}"]
            argv += ["--fork-session"] if talk.branch else []
        return Invocation(tuple(argv), self._environment(talk), stdin=_as_text(talk.prompt))

    def _environment(self, talk: Talk) -> dict[str, str]:
        ours = {
            "CLAUDE_CODE_MAX_RETRIES": str(talk.settings.max_retries),
            "API_TIMEOUT_MS": str(talk.settings.timeout),
        }
        env = {**ours, **dict.fromkeys(_QUIET, "1")} | program_environment(
            talk.env,
            usual=_KNOWN.usual,
            asked=self._settings.env,
            job_id=talk.job_id,
            run_id=talk.run_id,
        )
        # It reaches our server by no proxy.
        for name in ("NO_PROXY", "no_proxy"):
            env[name] = ",".join(filter(None, (env.get(name), "127.0.0.1")))
        return env


def _is_its_own(talk: Talk) -> bool:
    return talk.settings.provider.name == "anthropic"


def _as_text(prompt: str) -> str:
    """Return a prompt that is none of the program's own commands, such as /clear."""
    return f"The request: {prompt}" if prompt.lstrip().startswith("/") else prompt


def _questions(expert: Expert) -> Sequence[Question]:
    return [
        Question(name, tool.description or "Asks the user.", tool.input_schema)
        for skill in expert.skills.values()
        if isinstance(skill, InteractiveSkill)
        for name, tool in skill.tools.items()
    ]


@asynccontextmanager
async def _files(door: Door | None, instruction: str) -> AsyncGenerator[Files]:
    """Write what is too secret or too long for an argument; nothing of it is left afterwards.

    Raises:
        ProgramError: there is no place for it.
    """
    long = len(instruction.encode("utf-8", "replace")) > _LONGEST_ARGUMENT
    if door is None and not long:
        yield Files()
        return
    folder = await anyio.to_thread.run_sync(_written, door, instruction if long else None)
    try:
        yield Files(
            servers=folder / "servers.json" if door is not None else None,
            instruction=folder / "instruction.md" if long else None,
        )
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(shutil.rmtree, folder, True)


def _written(door: Door | None, instruction: str | None) -> Path:
    try:
        folder = Path(tempfile.mkdtemp(prefix="perstack-claude-"))
        if door is not None:
            _write(folder / "servers.json", json.dumps(_servers(door)))
        if instruction is not None:
            _write(folder / "instruction.md", instruction)
    except OSError as error:
        raise ProgramError(f"claude's settings cannot be written: {error.strerror}") from error
    return folder


def _write(path: Path, text: str) -> None:
    made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(made, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)


def _servers(door: Door) -> dict[str, JsonValue]:
    ours: dict[str, JsonValue] = {
        "type": "http",
        "url": door.url,
        "headers": {"Authorization": f"Bearer {door.token}"},
        "timeout": _A_WEEK,
        # It is waited for before anything is asked of the model, whose tools it offers at once.
        "alwaysLoad": True,
    }
    return {"mcpServers": {SERVER: ours}}

"""Anthropic's command line program, `claude`, in its headless mode."""

from __future__ import annotations

import json
import os
import re
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
from perstack.runtimes.claude_trust import is_trusted, own_of_folder
from perstack.runtimes.environment import program_environment
from perstack.runtimes.prompts import dropped_parts, instruction_text, model_told
from perstack.runtimes.running import Invocation, running
from perstack.runtimes.temporary import own_folder

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
# An address of mail names no file.
_MENTION: Final = re.compile(r"(?<![A-Za-z0-9_.+\\-])@")
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
        """Say what of the definition, and of the folder, it cannot honour; reads the disk."""
        found = dropped_parts(talk, asks=True)
        if talk.model is not None and model_told(self.name, talk) is None:
            found += (f"model {talk.model} (it has Anthropic's alone)",)
        if not is_trusted(talk.workspace, talk.env) and (own := own_of_folder(talk.workspace)):
            found += (f"{', '.join(own)} (start claude here once and trust the folder)",)
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
            files = await stack.enter_async_context(_files(door, talk))
            trusts = await anyio.to_thread.run_sync(is_trusted, talk.workspace, talk.env)
            started = self.invocation(talk, files, trusts=trusts)
            heard = await stack.enter_async_context(
                running(self.name, started, gate, talk.workspace)
            )
            gate.open(heard)
            yield heard

    def invocation(self, talk: Talk, files: Files, *, trusts: bool = False) -> Invocation:
        """Return how it is started: the prompt comes on its standard input.

        `trusts`: its user told it to trust the workspace, with the settings that it finds there.
        """
        argv = [*command_of(_KNOWN, self._settings), "-p", "--output-format", "stream-json"]
        argv += ["--verbose", "--include-partial-messages", *_MODES[self._permissions]]
        argv += [f"--disallowedTools={_UNSEEN}"]
        # Without a terminal it asks nobody before it starts hooks and servers that a folder names.
        argv += [] if trusts else ["--setting-sources=user"]
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
        if (model := model_told(self.name, talk)) is not None:
            argv += [f"--model={model}"]
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


def _as_text(prompt: str) -> str:
    """Return a prompt in which nothing is an order to the program itself.

    One that begins with "/" would be a command. "@path" would have it put the file there, of the
    workspace or not, without asking anybody; and what is said here may be a model's words.
    """
    said = _MENTION.sub(r"\\@", prompt)
    return f"The request: {said}" if said.lstrip().startswith("/") else said


def _questions(expert: Expert) -> Sequence[Question]:
    return [
        Question(name, tool.description or "Asks the user.", tool.input_schema)
        for skill in expert.skills.values()
        if isinstance(skill, InteractiveSkill)
        for name, tool in skill.tools.items()
    ]


@asynccontextmanager
async def _files(door: Door | None, talk: Talk) -> AsyncGenerator[Files]:
    """Write what is too secret or too long for an argument; nothing of it is left afterwards.

    Raises:
        ProgramError: there is no place for it.
    """
    instruction = instruction_text(talk)
    # Everybody on the machine can read arguments; what was said and done is not for everybody.
    long = bool(talk.past) or len(instruction.encode("utf-8", "replace")) > _LONGEST_ARGUMENT
    if door is None and not long:
        yield Files()
        return
    async with AsyncExitStack() as stack:
        try:
            folder = await stack.enter_async_context(own_folder("claude"))
            files = await anyio.to_thread.run_sync(
                _written, folder, door, instruction if long else None
            )
        except OSError as error:
            raise ProgramError(f"claude's settings cannot be written: {error.strerror}") from error
        yield files


def _written(folder: Path, door: Door | None, instruction: str | None) -> Files:
    servers = folder / "servers.json" if door is not None else None
    if door is not None and servers is not None:
        _write(servers, json.dumps(_servers(door)))
    long = folder / "instruction.md" if instruction is not None else None
    if instruction is not None and long is not None:
        _write(long, instruction)
    return Files(servers, long)


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

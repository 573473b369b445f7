"""The base tools: names, what the model is told, and what runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from pydantic import JsonValue

from perstack.domain.messages import FileInlinePart, ImageInlinePart
from perstack.ports.skills import RunContext, ToolOutcome
from perstack.skills.base import arguments as takes
from perstack.skills.base import command, directories, files, health, media
from perstack.skills.base.arguments import Arguments
from perstack.skills.base.paths import Workspace
from perstack.skills.base.sandbox import Sandbox
from perstack.skills.base.todos import TodoList
from perstack.skills.text import json_part

A = TypeVar("A", bound=Arguments)
Given = dict[str, JsonValue] | ImageInlinePart | FileInlinePart


@dataclass(frozen=True, slots=True)
class Desk:
    """What the base tools of one run work on. `show` is where a call's output appears live."""

    context: RunContext
    workspace: Workspace
    todos: TodoList
    sandbox: Sandbox | None = None
    show: Callable[[str], None] | None = None
    one_writer: anyio.Lock = field(default_factory=anyio.Lock)


@dataclass(frozen=True, slots=True)
class BaseTool:
    """One base tool. `reads` ones change nothing. `call` raises what `OpenBaseSkill` explains."""

    name: str
    description: str
    arguments: type[Arguments]
    call: Callable[[Desk, Mapping[str, JsonValue]], Awaitable[ToolOutcome]]
    reads: bool = False


def _todo_tool(
    name: str, description: str, taken: type[A], work: Callable[[TodoList, A], Given]
) -> BaseTool:
    async def call(desk: Desk, args: Mapping[str, JsonValue]) -> ToolOutcome:
        return _outcome(work(desk.todos, taken.take(args)))

    return BaseTool(name, description, taken, call)


def _reader(
    name: str, description: str, taken: type[A], work: Callable[[Workspace, A], Given]
) -> BaseTool:
    async def call(desk: Desk, args: Mapping[str, JsonValue]) -> ToolOutcome:
        checked = taken.take(args)
        return _outcome(await anyio.to_thread.run_sync(work, desk.workspace, checked))

    return BaseTool(name, description, taken, call, reads=True)


def _writer(
    name: str, description: str, taken: type[A], work: Callable[[Workspace, A], Given]
) -> BaseTool:
    """Writers go one after another, so that two edits of one response lose nothing.

    Those of parallel runs do, too; only one of each run waits for that, and takes up a thread.
    """

    def alone(workspace: Workspace, checked: A) -> Given:
        with workspace.one_writer:
            return work(workspace, checked)

    async def call(desk: Desk, args: Mapping[str, JsonValue]) -> ToolOutcome:
        checked = taken.take(args)
        async with desk.one_writer:
            return _outcome(await anyio.to_thread.run_sync(alone, desk.workspace, checked))

    return BaseTool(name, description, taken, call)


async def _exec(desk: Desk, args: Mapping[str, JsonValue]) -> ToolOutcome:
    checked = takes.ExecArguments.take(args)
    told, is_error = await command.run_command(
        desk.workspace, desk.context, checked, sandbox=desk.sandbox, show=desk.show
    )
    return ToolOutcome((json_part(told),), is_error)


def _outcome(given: Given) -> ToolOutcome:
    return ToolOutcome((json_part(given) if isinstance(given, dict) else given,))


TOOLS: Final = (
    _todo_tool(
        "attemptCompletion",
        "Say that the task is done. Answers with the todos that are still open, if there are any.",
        takes.NoArguments,
        TodoList.attempt_completion,
    ),
    _todo_tool(
        "todo",
        "Add todos, and mark todos as done. Answers with the whole list.",
        takes.TodoArguments,
        TodoList.change,
    ),
    _todo_tool("clearTodo", "Empty the todo list.", takes.NoArguments, TodoList.clear),
    _reader(
        "readTextFile",
        "Read a text file, or its lines `from` up to and without `to`, counted from 0. "
        f"Answers with at most {files.MAX_READ_CHARS:,} characters.",
        takes.ReadArguments,
        files.read_text_file,
    ),
    _reader(
        "readImageFile",
        "See a png, jpeg, gif or webp image of at most 15 MB.",
        takes.PathArguments,
        media.read_image_file,
    ),
    _reader(
        "readPdfFile",
        "Read a PDF document of at most 30 MB.",
        takes.PathArguments,
        media.read_pdf_file,
    ),
    _writer(
        "writeTextFile",
        "Write a text file, replacing what it held. Missing directories are made.",
        takes.TextArguments,
        files.write_text_file,
    ),
    _writer(
        "appendTextFile",
        "Add text to the end of a file that exists.",
        takes.TextArguments,
        files.append_text_file,
    ),
    _writer(
        "editTextFile",
        "Replace the first occurrence of oldText in a file by newText, both taken literally.",
        takes.EditArguments,
        files.edit_text_file,
    ),
    _reader(
        "listDirectory",
        f"List what is in a directory, at most {directories.MAX_ENTRIES:,} entries.",
        takes.PathArguments,
        directories.list_directory,
    ),
    _reader(
        "getFileInfo",
        "See whether a path exists and what it is.",
        takes.PathArguments,
        directories.get_file_info,
    ),
    _writer(
        "createDirectory",
        "Make a directory, and those above it that are missing.",
        takes.PathArguments,
        directories.create_directory,
    ),
    _writer(
        "moveFile",
        "Move or rename a file or directory. Nothing is overwritten.",
        takes.MoveArguments,
        directories.move_file,
    ),
    _writer("deleteFile", "Delete a file.", takes.PathArguments, files.delete_file),
    _writer(
        "deleteDirectory",
        "Delete a directory. One that is not empty needs `recursive`.",
        takes.DeleteDirectoryArguments,
        directories.delete_directory,
    ),
    BaseTool(
        "exec",
        "Run one program, without a shell (for pipes and the like run `sh` with `-c`). It gets no "
        "input and few variables. What it leaves running is ended when it ends. Of each output "
        f"the first and last {command.MAX_STREAM_BYTES // 2:,} bytes are kept.",
        takes.ExecArguments,
        _exec,
    ),
    _reader("healthCheck", "Check that tools answer.", takes.NoArguments, health.health_check),
)

"""What the tools of other agents' programs do, as far as a reader wants to know it.

Their names and arguments are theirs to change: what is not known here is shown as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from perstack.domain.messages import ToolCallPart
from perstack.domain.runtimes import PROGRAMS

# By the skill of a call, which for a program's own tools is its name.
_WRITERS: Final[Mapping[str, frozenset[str]]] = {
    "claude-code": frozenset({"Write", "Edit", "MultiEdit", "NotebookEdit"}),
    "gemini": frozenset({"write_file", "replace"}),
    "codex": frozenset({"file_change"}),
    "cursor": frozenset({"write", "edit", "delete"}),
}
_PATHS: Final = ("path", "file_path", "absolute_path", "notebook_path")
PATH_KEYS: Final = frozenset(_PATHS)
_BEFORE: Final = ("old_string", "oldText", "old_text")
_AFTER: Final = ("new_string", "content", "new_source", "fileText", "newText", "new_text")
_TODO_TEXTS: Final = ("content", "description", "text", "title")
_MANY: Final = 64


def is_of_program(skill_name: str) -> bool:
    """Tell whether a call went to a tool of a program's own."""
    return skill_name in PROGRAMS


def writes_files(skill_name: str, tool_name: str) -> bool:
    """Tell whether it is a tool of a program by which that writes or removes files."""
    return tool_name in _WRITERS.get(skill_name, ())


def paths_of(args: Mapping[str, JsonValue]) -> list[str]:
    """Return the files that a call of such a tool names, at most a few dozen."""
    found = [path for key in _PATHS if isinstance(path := args.get(key), str) and path]
    changes = args.get("changes")
    if isinstance(changes, list):
        named = (change.get("path") for change in changes[:_MANY] if isinstance(change, dict))
        found += [path for path in named if isinstance(path, str) and path]
    elif isinstance(changes, dict):
        found += list(changes)[:_MANY]
    return found


def change_in(call: ToolCallPart) -> tuple[str | None, str | None, dict[str, JsonValue]]:
    """Return the text that a writing call replaces, the one that it writes, and its other args."""
    args = dict(call.args)
    return _taken(args, _BEFORE), _taken(args, _AFTER), args


def spoken(args: Mapping[str, JsonValue]) -> str | None:
    """Return what matters of a call's arguments, None where nothing here is known of them."""
    match args:
        case {"pattern": str(pattern)}:
            where = next((one for one in paths_of(args)), "")
            return f"{pattern} in {where}" if where else pattern
        case {"changes": [*_] | {}}:
            return ", ".join(paths_of(args)) or None
        case {"todos": [*todos]} | {"items": [*todos]} if todos:
            return _todos(todos)
        case {"server": str(server), "tool": str(tool)}:
            return f"{server} {tool}"
        case _:
            return next((one for one in paths_of(args)), None)


def _todos(todos: list[JsonValue]) -> str | None:
    """Say how far a plan is, and what of it is at hand."""
    known = [todo for todo in todos if isinstance(todo, dict)]
    if not known:
        return None
    done = sum(_is_done(todo) for todo in known)
    at_hand = next((todo for todo in known if not _is_done(todo)), None)
    text = "" if at_hand is None else _todo_text(at_hand)
    return f"{done} of {len(known)} done" + (f", now {text}" if text else "")


def _is_done(todo: Mapping[str, JsonValue]) -> bool:
    return todo.get("status") == "completed" or todo.get("completed") is True


def _todo_text(todo: Mapping[str, JsonValue]) -> str:
    texts = (todo.get(key) for key in _TODO_TEXTS)
    return next((text for text in texts if isinstance(text, str)), "")


def _taken(args: dict[str, JsonValue], keys: tuple[str, ...]) -> str | None:
    """Take a text out of a call's arguments."""
    for key in keys:
        if isinstance(value := args.get(key), str):
            del args[key]
            return value
    return None

"""Where in a file of the workspace a tool was at work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from perstack.errors import NotFoundError, UsageError
from perstack.projection.cutting import CUT_MARK
from perstack.projection.views import CallView
from perstack_tui.text import flat

_LARGEST: Final = 2_000_000


def locate(workspace: Path, call: CallView) -> tuple[Path, int]:
    """Return the file that `call` names and the line, from 1, that it is about. Reads the disk.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it lies outside the workspace, or cannot be looked at.
    """
    shown = flat(call.path)
    try:
        root = workspace.resolve()
        path = (root / call.path).resolve()
        if not path.is_relative_to(root):
            raise UsageError(f"{shown} lies outside this folder; it is not opened from here")
        if path.is_dir():
            raise UsageError(f"{shown} is a folder")
        if not path.is_file():
            raise NotFoundError(f"{shown} is no file, or not any more")
        return path, _line_of(path, call)
    except (OSError, RuntimeError, ValueError):
        raise UsageError(f"{shown} cannot be opened") from None


def _line_of(path: Path, call: CallView) -> int:
    if call.after is None and call.before is None:
        return _first_read(call.args)
    if call.before is None and not call.appends:
        return 1  # All of it was written.
    with path.open("rb") as file:
        text = file.read(_LARGEST).decode("utf-8", "replace")
    for part in (call.after, call.before):
        wanted = (part or "").removesuffix(CUT_MARK)
        at = -1
        if wanted:
            at = text.rfind(wanted) if call.appends else text.find(wanted)
        if at >= 0:
            return text.count("\n", 0, at) + 1
    return 1


def _first_read(args: str) -> int:
    """Return the line that a reading call began with."""
    try:
        given: object = json.loads(args or "{}")
    except (ValueError, RecursionError):
        return 1
    first: object = given.get("from") if isinstance(given, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return first + 1 if isinstance(first, int) and 0 <= first < _LARGEST else 1

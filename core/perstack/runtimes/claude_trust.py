"""Whether claude was told by its user to trust a folder.

Without a terminal it does not ask: it starts the hooks, servers and helpers that a folder's own
settings name, whoever wrote them. So of a folder that it was not told to trust it is given nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from pydantic import JsonValue

from perstack.runtimes.records import child

# What it reads in the folder that it works in, besides what it is asked to.
_OF_A_FOLDER: Final = (".claude", ".mcp.json", "CLAUDE.md", "CLAUDE.local.md")
_RECORD: Final = ".claude.json"
_MOST_BYTES: Final = 64 * 1024 * 1024


def is_trusted(workspace: Path, env: Mapping[str, str]) -> bool:
    """Tell whether its user accepted the folder in claude itself. Blocks on the disk.

    What cannot be read or understood was not accepted.
    """
    home = env.get("CLAUDE_CONFIG_DIR") or env.get("HOME")
    if not home:
        return False
    try:
        with Path(home, _RECORD).open("rb") as file:
            found: object = json.loads(file.read(_MOST_BYTES))
        at = str(workspace.resolve())
    except (OSError, ValueError, RecursionError, RuntimeError):
        return False
    if not isinstance(found, dict):
        return False
    record = cast("Mapping[str, JsonValue]", found)
    return child(child(record, "projects"), at).get("hasTrustDialogAccepted") is True


def own_of_folder(workspace: Path) -> tuple[str, ...]:
    """Return what there is for claude in the folder, by name. Blocks on the disk."""
    return tuple(name for name in _OF_A_FOLDER if _is_there(workspace / name))


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True

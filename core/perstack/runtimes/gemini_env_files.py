"""What the Gemini CLI would read of a workspace's env files, which could send its key elsewhere.

It takes the first it finds from its folder upward, and sets what is not set yet. No option keeps
it from that: an administrator's setting can, but is heeded only in files of root's. So every
variable that such a file could set is set before, to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NAME: Final = ".env"
_OWN_FOLDER: Final = ".gemini"
_MOST_BYTES: Final = 256 * 1024
# More than it takes for a name, so that none is missed: any word before "=" or ":".
_SET: Final = re.compile(r"[A-Za-z0-9_.-]+(?=[\s\ufeff]*[=:])")


@dataclass(frozen=True, slots=True)
class EnvFiles:
    """The variables that env files from a folder upward could set; `unclear` if that is unknown.

    It is where one cannot be read, is no regular file, or is longer than anyone writes them.
    """

    names: frozenset[str] = frozenset()
    unclear: bool = False


def env_files(workspace: Path, home: Path | None) -> EnvFiles:
    """Return what the files above `workspace` could set, without those at `home`: its user's."""
    names: set[str] = set()
    unclear = False
    for path in _read_by_it(workspace, home):
        try:
            names |= _names(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            # A folder of that name (a Python environment's) is read by neither.
            unclear |= not path.is_dir()
    return EnvFiles(frozenset(names), unclear)


def _read_by_it(workspace: Path, home: Path | None) -> Iterator[Path]:
    start = workspace.resolve()
    for folder in (start, *start.parents):
        if home is None or folder != home.resolve():
            yield folder / _OWN_FOLDER / _NAME
            yield folder / _NAME


def _names(path: Path) -> set[str]:
    if path.exists() and not path.is_file():
        raise ValueError
    with path.open("rb") as file:
        text = file.read(_MOST_BYTES + 1)
    if len(text) > _MOST_BYTES:
        raise ValueError
    return set(_SET.findall(text.decode("utf-8", "replace")))

"""Keeping records and keys out of a git repository."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_IGNORED: Final = ("perstack/", ".env")


def ignore_records(folder: Path, *, always: bool = False) -> tuple[str, ...]:
    """Add to `.gitignore` what is missing there; return the lines that were added.

    Outside of a git repository only `always`.

    Raises:
        StorageError: it cannot be written.
    """
    from perstack.storage.files import explained

    added = missing_lines(folder, always=always)
    if added:
        path = folder / ".gitignore"
        with explained("write", path):
            text = path.read_text("utf-8") if path.exists() else ""
            gap = "" if not text or text.endswith("\n") else "\n"
            with path.open("a", encoding="utf-8") as file:
                file.write(gap + "".join(f"{line}\n" for line in added))
    return added


def missing_lines(folder: Path, *, always: bool = False) -> tuple[str, ...]:
    """Return the lines that `ignore_records` would add.

    Raises:
        StorageError: what is there cannot be read.
    """
    from perstack.storage.files import explained

    if not always and not any((each / ".git").exists() for each in (folder, *folder.parents)):
        return ()
    path = folder / ".gitignore"
    with explained("read", path):
        text = path.read_text("utf-8") if path.exists() else ""
    lines = [line.strip() for line in text.splitlines()]
    # The last line that fits counts, and a later one may take it back: `!.env`, `!*`.
    after = max((at for at, line in enumerate(lines) if line.startswith("!")), default=-1) + 1
    return tuple(line for line in _IGNORED if line not in lines[after:])


def is_tracked(path: Path) -> bool:
    """Tell whether git has a file in its index: such a one is never ignored. Blocks on the disk.

    Git itself is not started, since a folder's own settings name programs that it would start.
    """
    top = next((each for each in path.parents if (each / ".git").exists()), None)
    if top is None:
        return False
    name = os.fsencode(path.relative_to(top))
    try:
        index = (top / ".git" / "index").read_bytes()
    except OSError:
        return False
    # Before a name are its flags, the last twelve bits of which are its length.
    return any(
        int.from_bytes(index[found.start() - 2 : found.start()], "big") & 0xFFF == len(name)
        for found in re.finditer(re.escape(name) + b"\0", index)
    )

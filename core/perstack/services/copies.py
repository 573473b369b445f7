"""Copying what snapshots do not hold."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from perstack.domain.snapshots import Entry


def copy_large(own: Path, folder: Path, path: str, entry: Entry) -> bool:
    """Copy a file that is too large to be stored, where it seems to be as it was; say if it was.

    Blocks on the disk; a file that a link leads out of `own` to is not copied.
    """
    with suppress(OSError):
        found = os.lstat(own / path)
        real = (own / path).resolve().is_relative_to(own.resolve())
        if stat.S_ISREG(found.st_mode) and found.st_size == entry.size and real:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(own / path, folder / path, follow_symlinks=False)
            return True
    return False

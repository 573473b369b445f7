"""What was read of a workspace before, kept from process to process so that it is not read again.

Only a shortcut: without it, or where it is damaged, everything is read once more. It lies with the
contents that it counts on and goes when some of them are removed.
"""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from perstack.domain.snapshots import Entry
from perstack.storage.files import Files, write_all
from perstack.storage.snapshots.blobs import digest_of
from perstack.storage.snapshots.survey import Known
from perstack.storage.snapshots.walk import Stamp

_NAME: Final = "seen-"
_DIGITS: Final = 64
_FIELDS: Final = 8


def seen_path(folder: Path, workspace: Path) -> Path:
    """Where it lies for a workspace."""
    return folder / f"{_NAME}{digest_of(os.fsencode(workspace))[:32]}"


def seen_paths(folder: Path) -> list[Path]:
    """Return all of them."""
    return list(folder.glob(f"{_NAME}*"))


def load_seen(files: Files, path: Path) -> dict[str, Known]:
    """Return what was kept, nothing where it cannot be read."""
    try:
        stored = files.read(path)
        packed = stored[_DIGITS:]
        if digest_of(packed).encode() != stored[:_DIGITS]:
            return {}
        found: dict[str, list[int | str]] = json.loads(zlib.decompress(packed))
        return {name: _known(row) for name, row in found.items()}
    except (OSError, ValueError, TypeError, zlib.error):
        return {}


def save_seen(files: Files, path: Path, known: Mapping[str, Known]) -> None:
    """Keep it; where that fails, nothing is lost but time."""
    rows = {
        name: [
            *(of.stamp.size, of.stamp.mtime_ns, of.stamp.ctime_ns, of.stamp.inode, of.stamp.device),
            *(of.entry.mode, of.entry.size, of.entry.digest),
        ]
        for name, of in known.items()
        if of.entry.digest is not None
    }
    packed = zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), 1)
    fresh = path.with_name(f"{secrets.token_hex(8)}.tmp")
    with suppress(OSError):
        fd = files.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            write_all(files, fd, digest_of(packed).encode() + packed)
        finally:
            files.close(fd)
        files.rename(fresh, path)


def _known(row: list[int | str]) -> Known:
    if len(row) != _FIELDS:
        raise ValueError("a file is not described")
    size, mtime, ctime, inode, device, mode, length = (int(each) for each in row[:-1])
    digest = str(row[-1])
    return Known(Stamp(size, mtime, ctime, inode, device), Entry("file", mode, length, digest))

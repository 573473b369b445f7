"""A plugin folder's content, read once: what is hashed is what will run."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from perstack.ports.plugins import NoPluginError

MOST_FILES: Final = 1_000
MOST_BYTES: Final = 16 * 1024 * 1024
DEEPEST: Final = 32
_SKIPPED: Final = frozenset({"__pycache__", ".git"})


@dataclass(frozen=True, slots=True)
class Content:
    """All files of a plugin by their paths inside it, and the SHA-256 over names and bytes."""

    folder: Path
    files: Mapping[str, bytes] = field(repr=False)
    digest: str


def read_content(folder: Path) -> Content:
    """Read a plugin's folder. Blocks on the disk.

    Raises:
        NoPluginError: it cannot be read, is too large, or holds something else than files.
    """
    files: dict[str, bytes] = {}
    left = MOST_BYTES
    try:
        for path, name in _walk(folder, folder, 0):
            if len(files) >= MOST_FILES:
                raise NoPluginError(f"{folder.name} has more than {MOST_FILES:,} files")
            files[name] = _read(path, left)
            left -= len(files[name])
            if left < 0:
                raise NoPluginError(f"{folder.name} has more than {MOST_BYTES >> 20} MiB")
    except OSError as error:
        raise NoPluginError(f"{folder.name} cannot be read: {error.strerror or error}") from error
    return Content(folder, files, _digest(files))


def _walk(folder: Path, top: Path, depth: int) -> Iterator[tuple[Path, str]]:
    if depth > DEEPEST:
        raise NoPluginError(f"{top.name} has folders more than {DEEPEST} deep")
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        path = folder / entry.name
        if entry.is_symlink():
            # It would lead out of what is hashed.
            raise NoPluginError(f"{top.name} holds a symbolic link: {entry.name!a}")
        if entry.is_dir():
            if entry.name not in _SKIPPED:
                yield from _walk(path, top, depth + 1)
        else:
            yield path, path.relative_to(top).as_posix()


def _read(path: Path, most: int) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise NoPluginError(f"{path.name!a} is no file")
        return file.read(most + 1)


def _digest(files: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for name in sorted(files):
        raw = os.fsencode(name)
        total.update(b"%d %d\0" % (len(raw), len(files[name])))
        total.update(raw)
        total.update(files[name])
    return total.hexdigest()

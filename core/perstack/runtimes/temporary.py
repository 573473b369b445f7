"""Folders for what is too secret or too long for an argument, gone when the block ends.

A process that is killed leaves its own behind. As long as somebody uses a folder it is locked, and
the lock dies with its holder; so whoever makes one removes those that nobody holds any more.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

# A folder is there for a moment before it is locked.
_FRESH_S: Final = 60.0
# What is not looked at now is looked at another time.
_MOST: Final = 1_000
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOG: Final = logging.getLogger(__name__)


@asynccontextmanager
async def own_folder(purpose: str) -> AsyncGenerator[Path]:
    """Give a folder that only its owner gets into, for as long as the block runs.

    Folders for the same `purpose` (a word) that killed processes left behind are removed.

    Raises:
        OSError: there is no place for it.
    """
    folder, lock = await anyio.to_thread.run_sync(_made, f"perstack-{purpose}-")
    try:
        yield folder
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(shutil.rmtree, folder, True)
        os.close(lock)


def _made(prefix: str) -> tuple[Path, int]:
    sweep(prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    lock = os.open(folder, _FOLDER)
    with suppress(OSError):  # Where nothing can be locked, nothing is swept either.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return folder, lock


def sweep(prefix: str) -> None:
    """Remove our own folders of that name that nobody holds. Blocks on the disk; never raises.

    In a place where everybody makes files, nothing is taken for ours by its name alone, and no link
    is followed.
    """
    try:
        top = os.open(tempfile.gettempdir(), _FOLDER & ~os.O_NOFOLLOW)
    except OSError:
        return
    try:
        for name in _named(top, prefix):
            with suppress(OSError):
                _remove_if_left(top, name)
    finally:
        os.close(top)


def _named(top: int, prefix: str) -> Iterator[str]:
    # As `tempfile` names them.
    is_ours = re.compile(re.escape(prefix) + r"[a-z0-9_]{8}").fullmatch
    try:
        names = os.listdir(top)
    except OSError:
        return
    yield from [name for name in names if is_ours(name)][:_MOST]


def _remove_if_left(top: int, name: str) -> None:
    fd = os.open(name, _FOLDER, dir_fd=top)
    try:
        found = os.fstat(fd)
        own = found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == 0o700
        if not own or time.time() - found.st_mtime < _FRESH_S:
            return
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _LOG.info("removing %s, which a killed process left behind", name)
        shutil.rmtree(name, True, dir_fd=top)
    finally:
        os.close(fd)

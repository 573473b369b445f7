"""Gives the owner of a workspace what we have made in it as the superuser.

The workspace may be a stranger's: nothing that a link leads to changes hands, nor a file that has
another name elsewhere.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from perstack.errors import ConfigError

_OURS: Final = "perstack"
_LIVE: Final = "live"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ANY: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def handed_over(workspace: Path) -> tuple[int, int]:
    """Return the owner's uid and gid, once what a container writes to is theirs. Blocks.

    Raises:
        ConfigError: where history is kept there is a link.
        OSError: the folders cannot be made.
    """
    top = os.open(workspace, _FOLDER & ~os.O_NOFOLLOW)
    try:
        found = os.fstat(top)
        ours = _below(top, _OURS)
        try:
            os.close(_below(ours, _LIVE))
            if os.geteuid() == 0 and found.st_uid != 0:
                _give(ours, found.st_uid, found.st_gid)
        finally:
            os.close(ours)
    finally:
        os.close(top)
    return found.st_uid, found.st_gid


def _below(folder: int, name: str) -> int:
    """Return a folder in another one, made if it is not there."""
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise ConfigError(
                f"{_OURS if name == _OURS else f'{_OURS}/{name}'} in the workspace is a link,"
                " which no container can follow",
                hint="replace it by a real folder, or run it with --runtime perstack",
            ) from None
    return os.open(name, _FOLDER, dir_fd=folder)


def _give(folder: int, uid: int, gid: int) -> None:
    _give_one(folder, uid, gid)
    for _, folders, files, at in os.fwalk(".", follow_symlinks=False, dir_fd=folder):
        for name in (*folders, *files):
            looks = os.stat(name, dir_fd=at, follow_symlinks=False)
            # Opening a device or a pipe may do something.
            if looks.st_uid == 0 and stat.S_IFMT(looks.st_mode) in (stat.S_IFDIR, stat.S_IFREG):
                _give_named(name, at, uid, gid)


def _give_named(name: str, at: int, uid: int, gid: int) -> None:
    try:
        fd = os.open(name, _ANY, dir_fd=at)
    except OSError:
        return  # gone, or a link by now
    try:
        _give_one(fd, uid, gid)
    finally:
        os.close(fd)


def _give_one(fd: int, uid: int, gid: int) -> None:
    looks = os.fstat(fd)
    alone = stat.S_ISDIR(looks.st_mode) or (stat.S_ISREG(looks.st_mode) and looks.st_nlink == 1)
    if looks.st_uid == 0 and alone:
        os.fchown(fd, uid, gid)

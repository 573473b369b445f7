"""Writing a file that is there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from perstack.errors import ConflictError, StorageError
from perstack.storage.files import explained

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_ALONE: Final = 0o600
_FOR_ALL: Final = 0o666
_RIGHTS: Final = 0o777
_STDOUT: Final = "choose another file; standard output is -o -"
_FORCE: Final = "choose another file, or replace this one with --force"


@contextmanager
def new_file(path: Path, *, replaces: bool, shared: bool = False) -> Generator[IO[str]]:
    """Yield a text file that becomes `path` when the block ends well.

    It is the user's alone, unless it is `shared`: such a one has the rights of what it replaces, or
    those that the umask leaves to a new file.

    Raises:
        ConflictError: the file exists and `replaces` is False.
        StorageError: it cannot be written, or is a folder or a device; what was there is intact.
    """
    path = path.absolute()
    with explained("write", path):
        if path.exists():
            _check(path, replaces=replaces)
        fresh = path.with_name(f".{path.name[:64]}.{secrets.token_hex(8)}.tmp")
        mode = _mode(path, shared=shared)
        fd = os.open(fresh, _NEW, _FOR_ALL if mode is None else _ALONE)
        try:
            with open(fd, "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123  it is open
                if mode not in (None, _ALONE):
                    os.fchmod(fd, mode)
                yield file
                file.flush()
                os.fsync(file.fileno())
            _put(fresh, path, replaces=replaces)
        finally:
            with suppress(FileNotFoundError):
                fresh.unlink()


def _mode(path: Path, *, shared: bool) -> int | None:
    """Return the rights that a file gets, None for those that the umask leaves."""
    if not shared:
        return _ALONE
    return path.stat().st_mode & _RIGHTS if path.exists() else None


def _check(path: Path, *, replaces: bool) -> None:
    if not path.is_file():
        raise StorageError(f"cannot write {path}: it is not a regular file", hint=_STDOUT)
    if not replaces:
        raise _exists(path)


def _put(fresh: Path, path: Path, *, replaces: bool) -> None:
    if replaces:
        fresh.replace(path)
        return
    try:
        path.hardlink_to(fresh)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError:  # a file system without such links
        fresh.replace(path)


def _exists(path: Path) -> ConflictError:
    return ConflictError(f"{path} exists", hint=_FORCE)

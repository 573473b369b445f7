"""Writing a file that is there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from perstack.errors import ConflictError, StorageError
from perstack.storage.files import explained

_STDOUT: Final = "choose another file; standard output is -o -"
_FORCE: Final = "choose another file, or replace this one with --force"


@contextmanager
def new_file(path: Path, *, replaces: bool) -> Generator[IO[str]]:
    """Yield a text file that becomes `path` when the block ends well; it is the user's alone.

    Raises:
        ConflictError: the file exists and `replaces` is False.
        StorageError: it cannot be written, or is a folder or a device; what was there is intact.
    """
    path = path.absolute()
    if path.exists():
        _check(path, replaces=replaces)
    with explained("write", path):
        fd, name = tempfile.mkstemp(prefix=f".{path.name[:64]}.", suffix=".tmp", dir=path.parent)
        fresh = Path(name)
        try:
            with open(fd, "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123  it is open
                yield file
                file.flush()
                os.fsync(file.fileno())
            _put(fresh, path, replaces=replaces)
        finally:
            with suppress(FileNotFoundError):
                fresh.unlink()


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

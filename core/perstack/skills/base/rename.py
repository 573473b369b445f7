"""Renaming that overwrites nothing, not even what appears in the last moment."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Final, Protocol

from perstack.skills.base.paths import Place

_NO_REPLACE: Final = 1
# The system has no such call, or this file system cannot do it.
_CANNOT: Final = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


class _RenameAt2(Protocol):
    def __call__(self, src_fd: int, src: bytes, dst_fd: int, dst: bytes, flags: int, /) -> int: ...


def rename_to_new(source: Place, target: Place) -> None:
    """Give `source` the name `target`, which must stand for nothing.

    Where the system cannot promise that (it is no Linux, or an old one), `target` is as `locate`
    found it.

    Raises:
        OSError: FileExistsError if there is something; what else kept it from being renamed.
    """
    failed = _rename_no_replace(source, target)
    if failed in _CANNOT:
        os.rename(
            source.name, target.name, src_dir_fd=source.directory, dst_dir_fd=target.directory
        )
    elif failed:
        raise OSError(failed, os.strerror(failed))


def _rename_no_replace(source: Place, target: Place) -> int:
    """Return 0, or the number of the error."""
    rename = _renameat2()
    if rename is None:
        return errno.ENOSYS
    names = os.fsencode(source.name), os.fsencode(target.name)
    done = rename(source.directory, names[0], target.directory, names[1], _NO_REPLACE)
    return ctypes.get_errno() if done != 0 else 0


@cache
def _renameat2() -> _RenameAt2 | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None

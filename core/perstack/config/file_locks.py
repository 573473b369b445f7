"""Keeping other processes out while a file is read and written anew. It blocks."""

from __future__ import annotations

import fcntl
import time
from typing import Final

_POLL_S: Final = 0.02


def is_taken(fd: int, *, within_s: float) -> bool:
    """Lock what is open at `fd`; False if another process has held it for `within_s` seconds.

    On a file system without such locks nobody can be kept out: that is as good as a lock.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        except OSError:
            return True
        else:
            return True

"""What this process keeps from others of the same user."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def keep_to_itself() -> None:
    """Let no other process of the user read this one's variables and memory, where that is had.

    Commands and tool servers that Experts start run as the same user: their environment holds no
    key, and /proc would tell them ours. A debugger cannot attach any more, either.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)

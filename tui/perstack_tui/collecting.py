"""When the interpreter looks for garbage: a little at a time, so that no key waits for it.

A look at the 50,000 objects that a short program may leave between two looks takes 50 to 150 ms.
"""

from __future__ import annotations

import gc
from typing import Final

_WHILE_LOADING: Final = (1_000_000, 10, 10)
_AT_WORK: Final = (4_000, 4, 50)


def hold() -> None:
    """Look hardly ever while modules and the history are loaded: nearly all of it stays."""
    gc.set_threshold(*_WHILE_LOADING)


def resume() -> None:
    """Set aside what is there, which is never looked at again, and look at the rest in parts."""
    gc.freeze()
    gc.set_threshold(*_AT_WORK)

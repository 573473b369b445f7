"""The network of another process: what is made inside stays there, whoever uses it.

A socket belongs to the network in which it was made, so a thread joins that network for a moment,
and the sockets are then served by this process as any others are.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

_CLONE_NEWNET: Final = 0x4000_0000


def inside(pid: int, make: Callable[[], T]) -> T:
    """Call `make` in the network of a process; takes root.

    Raises:
        OSError: The process is gone, or its network may not be joined.
    """
    with ThreadPoolExecutor(1) as thread:

        def joined() -> T:
            libc = ctypes.CDLL(None, use_errno=True)
            network = os.open(Path("/proc") / str(pid) / "ns" / "net", os.O_RDONLY)
            try:
                if libc.setns(network, _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "the network cannot be joined")
            finally:
                os.close(network)
            return make()

        return thread.submit(joined).result(60)

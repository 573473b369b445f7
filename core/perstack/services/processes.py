"""Which of the processes that drive agents are dead. Blocking: looks at the machine's processes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from typing import Final

from perstack.domain.agents import LOST_AFTER_MS, DriverProcess

# A process says when it began to drive, and is older than that. Who is younger got its pid. By so
# much the machine's clock may be set forward meanwhile, which moves all births.
_BORN_AFTER_MS: Final = 60_000


def own_process(process_id: str, *, now_ms: int) -> DriverProcess:
    """Return this process as one that begins to drive agents now."""
    return DriverProcess(
        id=process_id,
        pid=os.getpid(),
        host=socket.gethostname(),
        started_at=now_ms,
        beat_at=now_ms,
    )


def dead_processes(processes: Iterable[DriverProcess], *, now_ms: int) -> Sequence[DriverProcess]:
    """Return those that have not said for 10 s that they live, or are gone from this machine."""
    here = socket.gethostname()
    return [
        process
        for process in processes
        if now_ms - process.beat_at > LOST_AFTER_MS or (process.host == here and _gone(process))
    ]


def _gone(process: DriverProcess) -> bool:
    import psutil

    try:
        found = psutil.Process(process.pid)
        if found.status() == psutil.STATUS_ZOMBIE:
            return True
        return found.create_time() * 1_000 > process.started_at + _BORN_AFTER_MS
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False

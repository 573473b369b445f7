"""Whether a process drives a job, by what its live file says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from perstack.storage.files import explained
from perstack.storage.history.live import Header, host_name, read_header

ALIVE_MS: Final = 10_000
HEADER_BYTES: Final = 1024


def is_driven(live_file: Path, *, now_ms: int) -> bool:
    """Tell whether the process that wrote the live file drives its job at `now_ms` (Unix ms).

    Raises:
        StorageError: the file cannot be read.
    """
    with explained("read", live_file):
        try:
            with live_file.open("rb") as file:
                changed_ms = os.fstat(file.fileno()).st_mtime_ns // 1_000_000
                header = read_header(file.read(HEADER_BYTES))
        except FileNotFoundError:
            return False
    return header is not None and drives(header, changed_ms, now_ms=now_ms)


def drives(header: Header, beat_ms: int, *, now_ms: int) -> bool:
    """Tell whether the process that `header` names, and that last beat at `beat_ms`, is there."""
    if now_ms - beat_ms >= ALIVE_MS:
        return False
    return header.host != host_name() or _runs(header.pid)


def _runs(pid: int) -> bool:
    if not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Say whether the process has ended but was not waited for; where /proc is absent, no."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[:1] == [b"Z"]

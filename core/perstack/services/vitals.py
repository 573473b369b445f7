"""What this process and its machine use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CPU_SAMPLE_S: Final = 0.1
_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@dataclass(frozen=True, slots=True)
class Vitals:
    """Bytes and per cents. `memory_limit` is what the process may use at most.

    Disk figures are None when the folder's disk cannot be asked.
    """

    memory_used: int
    memory_limit: int
    cpu_percent: float
    disk_total: int | None
    disk_free: int | None
    uptime_s: float


def measure(folder: Path) -> Vitals:
    """Measure; blocks for a tenth of a second. `folder` may not exist yet."""
    import psutil

    process = psutil.Process()
    total, free = _disk(folder)
    return Vitals(
        memory_used=process.memory_info().rss,
        memory_limit=min(psutil.virtual_memory().total, _container_limit()),
        cpu_percent=psutil.cpu_percent(interval=_CPU_SAMPLE_S),
        disk_total=total,
        disk_free=free,
        uptime_s=uptime_s(),
    )


def uptime_s() -> float:
    """Return for how long this process has been running."""
    import psutil

    return max(0.0, _now() - psutil.Process().create_time())


def _now() -> float:
    import time

    return time.time()


def _disk(folder: Path) -> tuple[int | None, int | None]:
    import shutil

    for place in (folder, *folder.parents):
        try:
            found = shutil.disk_usage(place)
        except FileNotFoundError:
            continue
        except OSError:
            break
        return found.total, found.free
    return None, None


def _container_limit() -> int:
    """Return what the container allows; without one, more than any machine has."""
    for path in _LIMITS:
        try:
            said = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if said.isdecimal():
            return int(said)
    return 2**63

"""Telling a person at a terminal from a run, or anything a run started, that acts like one.

A run must not decide its own gate. Its processes carry `PERSTACK_RUN_ID`; those that shed it still
have an ancestor that carries it or that drives a job of the workspace. What escapes both is named
in docs/consensus.md.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, Field

from perstack.errors import DeniedError

MARKS: Final = ("PERSTACK_RUN_ID", "PERSTACK_JOB_ID")
DECIDE: Final = "decide a consensus checkpoint"

_GENERATIONS: Final = 256
_LIVE_FILES: Final = 1_000
_HEADER_BYTES: Final = 4_096
# A driver is older than its file. What was born this much later got a dead driver's pid.
_BORN_AFTER_S: Final = 60.0


class _Header(BaseModel):
    """The first line of a file in `perstack/live`. `started_at` in Unix milliseconds."""

    pid: int
    host: str | None = None
    started_at: int | None = Field(default=None, alias="startedAt")


@dataclass(frozen=True, slots=True)
class _Driver:
    """Who a file in `perstack/live` says drives its job. `since_s` in Unix seconds, if known."""

    job_id: str
    pid: int
    since_s: float | None


def refuse_if_inside_run(
    workspace: Path,
    *,
    allow_self: bool = False,
    env: Mapping[str, str] | None = None,
    deed: str = DECIDE,
) -> None:
    """Raise if this process is a run, or was started by one. Blocking: reads files and /proc.

    `allow_self` is for a process that drives jobs itself and decides because a person pressed a
    key (the cockpit); its ancestors still count. `env` defaults to the process's environment.
    `deed` is what a run may not do, as the message names it.

    Raises:
        DeniedError: a run may not decide.
    """
    for mark in MARKS:
        if (os.environ if env is None else env).get(mark):
            raise _denied(deed, f"{mark} is set")
    drivers = {driver.pid: driver for driver in _drivers(workspace)}
    for generation, process in enumerate(_lineage()):
        if generation >= _GENERATIONS:
            raise _denied(deed, "its ancestors could not all be looked at")
        if generation or not allow_self:
            _refuse_driver(process, drivers, deed)
        if generation:
            _refuse_marked(process, deed)


def run_around(workspace: Path, *, env: Mapping[str, str] | None = None) -> str | None:
    """Return which run this process is or descends from, None for none. Blocking, as above.

    Where the run is not known it is the job's id. A process that itself drives jobs is not inside
    them.
    """
    if found := _mark(os.environ if env is None else env):
        return found
    drivers = {driver.pid: driver for driver in _drivers(workspace)}
    for generation, process in enumerate(_lineage()):
        if not generation:
            continue
        if found := _mark(process.env):
            return found
        if driver := _driver_of(process, drivers):
            return driver.job_id
    return None


@dataclass(frozen=True, slots=True)
class _Process:
    """One of the process itself and its ancestors. `env` is what it was started with."""

    pid: int
    born_s: float
    env: Mapping[str, str]


def _lineage() -> Iterator[_Process]:
    """Yield this process, its parent and so on; those that vanish meanwhile end it."""
    import psutil

    try:
        process: psutil.Process | None = psutil.Process()
        while process is not None:
            with process.oneshot():
                yield _Process(process.pid, process.create_time(), _environment(process))
            process = process.parent()
    except psutil.NoSuchProcess:
        return


def _environment(process: object) -> Mapping[str, str]:
    import psutil

    if not isinstance(process, psutil.Process):
        return {}
    try:
        return process.environ()
    except (psutil.AccessDenied, psutil.ZombieProcess, OSError):
        # Another user's process (a login shell's parent): it is none of ours.
        return {}


def _mark(env: Mapping[str, str]) -> str | None:
    return next((env[mark] for mark in MARKS if env.get(mark)), None)


def _driver_of(process: _Process, drivers: Mapping[int, _Driver]) -> _Driver | None:
    """Return what the process drives, None too for one that only has a dead driver's number."""
    driver = drivers.get(process.pid)
    if driver is None:
        return None
    is_it = driver.since_s is None or process.born_s <= driver.since_s + _BORN_AFTER_S
    return driver if is_it else None


def _refuse_driver(process: _Process, drivers: Mapping[int, _Driver], deed: str) -> None:
    if driver := _driver_of(process, drivers):
        raise _denied(
            deed, f"it was started by process {process.pid}, which runs job {driver.job_id}"
        )


def _refuse_marked(process: _Process, deed: str) -> None:
    for mark in MARKS:
        if process.env.get(mark):
            raise _denied(deed, f"it was started by process {process.pid}, which belongs to a run")


def _denied(deed: str, why: str) -> DeniedError:
    return DeniedError(
        f"a run cannot {deed}: {why}",
        hint=f"{deed.split(maxsplit=1)[0]} in the cockpit, or in a terminal of your own",
    )


def _drivers(workspace: Path) -> Iterator[_Driver]:
    """Yield the drivers that `perstack/live` names on this host; what is unreadable names none."""
    host = socket.gethostname()
    try:
        paths = sorted((workspace / "perstack" / "live").glob("*.jsonl"))[:_LIVE_FILES]
    except OSError:
        return
    for path in paths:
        header = _header(path)
        if header is not None and header.host in (None, host):
            yield _Driver(
                path.stem,
                header.pid,
                None if header.started_at is None else header.started_at / 1000,
            )


def _header(path: Path) -> _Header | None:
    try:
        with path.open("rb") as file:
            return _Header.model_validate_json(file.readline(_HEADER_BYTES))
    except (OSError, ValueError):
        return None

"""Makes calls that block fail where the program makes them on its event loop's thread.

A call that waits for the disk, a process or a name server there stops every run and every key. The
program hands such calls to a worker thread; this says where it forgot to.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Final, ParamSpec, TypeVar

import pytest

CALLS: Final[tuple[tuple[ModuleType, str], ...]] = (
    (os, "fdatasync"),
    (os, "fsync"),
    (os, "scandir"),
    (shutil, "rmtree"),
    (socket, "getaddrinfo"),
    (subprocess, "run"),
    (time, "sleep"),
)
_OURS: Final = ("perstack.", "perstack_tui.")

P = ParamSpec("P")
R = TypeVar("R")


class BlockingCallError(AssertionError):
    """The event loop was made to wait."""


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all of `CALLS` fail on a thread that runs an event loop, when the program calls."""
    for module, name in CALLS:
        monkeypatch.setattr(module, name, _guarded(name, getattr(module, name)))


def _guarded(name: str, call: Callable[P, R]) -> Callable[P, R]:
    @wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        frame = inspect.currentframe()
        above = frame.f_back if frame is not None else None
        caller = str(above.f_globals.get("__name__", "")) if above is not None else ""
        if caller.startswith(_OURS) and _on_event_loop():
            raise BlockingCallError(f"{caller} called {name} on the event loop")
        return call(*args, **kwargs)

    return guarded


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

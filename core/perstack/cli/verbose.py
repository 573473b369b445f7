"""What `--verbose` shows: how images are built, how a container fares, what its proxy decides.

Each is a line on stderr; those that Perstack has an event for are JSON lines on stdout, too. They
are told of a process, not of a run, so they are not in the history.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Final

from perstack.cli.listeners import say
from perstack.ports.system import SystemClock

_SHOWN: Final = "perstack.containers"


def show_containers(line: Callable[[str], None]) -> None:
    """Show what is logged of containers from now on; `line` prints one of JSON."""
    log = logging.getLogger(_SHOWN)
    log.setLevel(logging.INFO)
    log.addHandler(_Saying(line))


class _Saying(logging.Handler):
    def __init__(self, line: Callable[[str], None]) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())
        if news := record.__dict__.get("news"):
            told = {"type": news["type"], "timestamp": SystemClock().now_ms(), **news}
            self._line(json.dumps(told, separators=(",", ":")))

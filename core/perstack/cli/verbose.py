"""What `--verbose` shows on stderr: how images are built, and what a container's proxy decides."""

from __future__ import annotations

import logging

from perstack.cli.listeners import say

_SHOWN = "perstack.containers"


def show_containers() -> None:
    """Print what is logged of containers, line by line, from now on."""
    log = logging.getLogger(_SHOWN)
    log.setLevel(logging.INFO)
    log.addHandler(_Saying())


class _Saying(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())

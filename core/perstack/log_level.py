"""How much is logged: what `-v` and `-q` ask of this process, and of those that it starts."""

from __future__ import annotations

import logging
import os
from typing import Final

LOG_LEVEL: Final = "PERSTACK_LOG_LEVEL"
_LEVELS: Final = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
}


def log_level() -> int:
    """Return the level from which on records count: warnings, unless somebody asked otherwise."""
    return _LEVELS.get(os.environ.get(LOG_LEVEL, "").strip().upper(), logging.WARNING)

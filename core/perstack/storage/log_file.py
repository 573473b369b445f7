"""The program's own log: a file that is made when there is something to say."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from perstack.config.secrets import redact

_MOST_BYTES: Final = 1_000_000
_FORMAT: Final = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"


class LogFile(RotatingFileHandler):
    """Appends redacted records to a file of at most 1 MB, and keeps one older file.

    A record that cannot be written is dropped: a log must never end a run.
    """

    def __init__(self, path: Path, secrets: Iterable[str] = ()) -> None:
        super().__init__(path, maxBytes=_MOST_BYTES, backupCount=1, delay=True, encoding="utf-8")
        self._path = path
        self._secrets = tuple(secrets)
        self.setFormatter(logging.Formatter(_FORMAT))

    def hide(self, secrets: Iterable[str]) -> None:
        """Redact these, too, from the next record on."""
        known = {*self._secrets, *secrets}
        # The longest first: a secret may hold a shorter one.
        self._secrets = tuple(sorted(known, key=len, reverse=True))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; its folder is made with the first."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            return
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line without secrets."""
        return redact(super().format(record), self._secrets)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Say nothing: stderr may be under a screen."""

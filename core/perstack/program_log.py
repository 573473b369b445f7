"""What programs that work with keys begin with: they log to a file, and keep to themselves."""

from __future__ import annotations

import logging
from pathlib import Path

from perstack.log_level import log_level
from perstack.processes.own import keep_to_itself
from perstack.storage.log_file import LogFile


def log_to_file(workspace: Path, secrets: tuple[str, ...] = ()) -> None:
    """Send the program's log to `perstack/logs/perstack.log`, made with its first record.

    Nothing is ever logged to the terminal: stdout is data, and the screen is somebody's. Whoever
    does so works with keys, which its variables hold: those are kept from what it starts.
    """
    keep_to_itself()
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.handlers = [LogFile(workspace / "perstack" / "logs" / "perstack.log", secrets)]
    root.setLevel(log_level())


def hide_in_log(secrets: tuple[str, ...]) -> None:
    """Keep these out of the log from now on, too; nothing where it goes to no file."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogFile):
            handler.hide(secrets)

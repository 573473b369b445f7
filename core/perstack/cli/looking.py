"""What the commands that look back open: the history of a folder that is there."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from perstack.log_level import log_level

if TYPE_CHECKING:
    from perstack.ports.history import History
    from perstack.ports.snapshots import SnapshotStore


HERE: Final = Path()
STORAGE: Final = "PERSTACK_STORAGE_PATH"


def storage_of(workspace: Path) -> Path:
    """Return where the history is: what the environment says, unless a folder was named."""
    given = os.environ.get(STORAGE)
    if given and workspace == HERE:
        return Path(given).absolute()
    return workspace.absolute() / "perstack"


def history_of(workspace: Path) -> History:
    """Return the history of `workspace`, which may be empty; nothing is made there.

    What it has to say from now on, of a job that cannot be read, say, is said on standard error.

    Raises:
        UsageError: there is no such folder.
    """
    from perstack.errors import UsageError
    from perstack.runtime import open_history

    storage = storage_of(workspace)
    is_elsewhere = storage != workspace.absolute() / "perstack"
    wanted = storage if is_elsewhere else workspace
    if not wanted.is_dir():
        told_by = STORAGE if is_elsewhere else "--workspace"
        raise UsageError(f"there is no folder {str(wanted)!a}", hint=f"check {told_by}")
    say_what_is_logged()
    return open_history(workspace, storage if is_elsewhere else None)


def snapshots_of(workspace: Path) -> SnapshotStore:
    """Return the snapshots that lie beside the history of `workspace`."""
    from perstack.runtime import open_snapshots

    storage = storage_of(workspace)
    elsewhere = storage if storage != workspace.absolute() / "perstack" else None
    return open_snapshots(workspace.absolute(), elsewhere)


def say_what_is_logged() -> None:
    """From now on print what is logged on standard error: warnings, or as `-v` and `-q` ask."""
    logger = logging.getLogger("perstack")
    logger.setLevel(log_level())
    logger.addHandler(_SAYS)


def log_as_a_server(workspace: Path) -> None:
    """From now on say what is logged, as above, and keep it, with tracebacks, in the log file."""
    from perstack.config.process_env import process_environment
    from perstack.config.secrets import secret_values
    from perstack.program_log import log_to_file

    log_to_file(workspace, secret_values(process_environment()))
    say_what_is_logged()


class _Says(logging.Handler):
    """Prints what is logged, which may name files of any name, so that no terminal acts on it."""

    def emit(self, record: logging.LogRecord) -> None:
        from perstack.cli.listeners import say

        say(f"{record.levelname.capitalize()}: {record.getMessage()}")


_SAYS = _Says()

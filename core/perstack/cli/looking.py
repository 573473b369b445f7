"""What the commands that look back open: the history of a folder that is there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from perstack.ports.history import History


def history_of(workspace: Path) -> History:
    """Return the history of `workspace`, which may be empty; nothing is made there.

    What it has to say from now on, of a job that cannot be read, say, is said on standard error.

    Raises:
        UsageError: there is no such folder.
    """
    from perstack.errors import UsageError
    from perstack.runtime import open_history

    if not workspace.is_dir():
        raise UsageError(f"there is no folder {str(workspace)!a}", hint="check --workspace")
    logging.getLogger("perstack").addHandler(_SAYS)
    return open_history(workspace)


class _Says(logging.Handler):
    """Prints what is logged, which may name files of any name, so that no terminal acts on it."""

    def emit(self, record: logging.LogRecord) -> None:
        from perstack.cli.listeners import say

        say(f"Warning: {record.getMessage()}")


_SAYS = _Says(logging.WARNING)

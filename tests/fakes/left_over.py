"""What is left of programs that were ended."""

from __future__ import annotations

from pathlib import Path

import psutil

from tests.fakes.consensus import until


async def none_is_left(workspace: Path) -> None:
    """Wait until no process works in the workspace."""
    await until(lambda: not any(_is_at(one, workspace) for one in psutil.process_iter()))


def _is_at(process: psutil.Process, workspace: Path) -> bool:
    try:
        return Path(process.cwd()) == workspace and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False

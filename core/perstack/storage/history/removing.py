"""Removing a job: out of sight in one go, then piece by piece."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from perstack.domain.ids import JobId
from perstack.storage.files import explained
from perstack.storage.history.layout import Layout

_TRASH: Final = "trash-"


def remove_job(layout: Layout, job_id: JobId) -> int:
    """Remove the files of a job whose lock is held; return how many bytes they were.

    What a process that was killed left of an earlier one is removed with it. Any number of
    processes may do so at once: none minds that another was first.

    Raises:
        StorageError: not all of it could be removed.
    """
    # In one go, and to a name of its own: no folder that another deletion would take away.
    out_of_sight = layout.storage / f"{_TRASH}{job_id}-{secrets.token_hex(4)}"
    with explained("remove", layout.job(job_id)):
        size = bytes_below(layout.job(job_id))
        layout.job(job_id).rename(out_of_sight)
        for each in (out_of_sight, *layout.storage.glob(f"{_TRASH}*")):
            _remove_tree(each)
        with suppress(FileNotFoundError):
            (layout.storage / "logs" / f"{job_id}.log").unlink()
    return size


def _remove_tree(folder: Path) -> None:
    while folder.exists():
        # Another process may be removing it, too: then it is looked at again.
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)


def bytes_below(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(
        os.lstat(os.path.join(at, name)).st_size  # noqa: PTH118
        for at, _, names in os.walk(folder)
        for name in names
    )

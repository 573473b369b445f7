"""Removing a job: out of sight in one go, then piece by piece."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from perstack.domain.ids import JobId
from perstack.storage.files import explained
from perstack.storage.history.layout import Layout


def remove_job(layout: Layout, job_id: JobId) -> int:
    """Remove the files of a job whose lock is held; return how many bytes they were.

    What a process that was killed left of an earlier one is removed with it.

    Raises:
        StorageError: not all of it could be removed.
    """
    trash = layout.storage / "trash"
    with explained("remove", layout.job(job_id)):
        trash.mkdir(mode=0o700, exist_ok=True)
        size = bytes_below(layout.job(job_id))
        layout.job(job_id).rename(trash / f"{job_id}-{secrets.token_hex(4)}")
        shutil.rmtree(trash)
        with suppress(FileNotFoundError):
            (layout.storage / "logs" / f"{job_id}.log").unlink()
    return size


def bytes_below(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(
        os.lstat(os.path.join(at, name)).st_size  # noqa: PTH118
        for at, _, names in os.walk(folder)
        for name in names
    )

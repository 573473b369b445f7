"""Removing jobs, and the stored files that nothing refers to any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anyio import to_thread

from perstack.domain.ids import JobId
from perstack.errors import ConflictError, NotFoundError
from perstack.ports.history import History
from perstack.ports.snapshots import SnapshotStore, Swept


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or would be. `size` are the jobs' bytes, `swept` the stored files."""

    job_ids: tuple[JobId, ...]
    size: int
    swept: Swept
    kept: tuple[JobId, ...] = ()


class Pruner:
    """Removes jobs that no process drives."""

    def __init__(self, history: History, snapshots: SnapshotStore) -> None:
        self._history = history
        self._snapshots = snapshots

    async def older_than(self, before: int) -> list[JobId]:
        """Return the jobs, those of services too, that nobody drove since then (Unix ms)."""
        return [
            look.job.id
            async for some in self._history.look_at_jobs()
            for look in some
            if not look.alive and look.driven_at < before
        ]

    async def delete(self, job_ids: Sequence[JobId]) -> Pruned:
        """Remove these jobs and what only they refer to.

        Raises:
            NotFoundError: there is no such job; nothing is removed.
            ConflictError: a process drives one of them; nothing is removed.
            StorageError: not all of it could be removed.
        """
        for job_id in job_ids:
            if (await self._history.look_at_job(job_id)).alive:
                raise ConflictError(f"a process works on job {job_id}", hint="stop it first")
        size = 0
        for job_id in dict.fromkeys(job_ids):
            size += await self._history.delete_job(job_id)
        return Pruned(tuple(dict.fromkeys(job_ids)), size, await self._swept(None))

    async def prune(self, before: int) -> Pruned:
        """Remove the jobs that nobody drove since then (Unix ms); those taken up meanwhile stay.

        Raises:
            StorageError: not all of it could be removed.
        """
        gone: list[JobId] = []
        kept: list[JobId] = []
        size = 0
        for job_id in await self.older_than(before):
            try:
                size += await self._history.delete_job(job_id)
            except ConflictError:
                kept.append(job_id)
            except NotFoundError:
                continue  # somebody else removed it
            else:
                gone.append(job_id)
        return Pruned(tuple(gone), size, await self._swept(before), tuple(kept))

    async def _swept(self, before: int | None) -> Swept:
        return await to_thread.run_sync(lambda: self._snapshots.sweep(before=before))

"""Removing jobs, and the stored files that nothing refers to any more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from anyio import to_thread

from perstack.domain.ids import JobId
from perstack.errors import ConflictError, NotFoundError
from perstack.ports.history import History
from perstack.ports.snapshots import SnapshotStore, Swept
from perstack.services.job_gates import JobGates


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or would be. `size` are the jobs' bytes, `swept` the stored files."""

    job_ids: tuple[JobId, ...]
    size: int
    swept: Swept
    kept: tuple[JobId, ...] = ()


class Pruner:
    """Removes jobs that no process drives. `gates` is None where there never was an inbox."""

    def __init__(
        self, history: History, snapshots: SnapshotStore, gates: JobGates | None = None
    ) -> None:
        self._history = history
        self._snapshots = snapshots
        self._gates = gates

    async def older_than(self, before: int) -> list[JobId]:
        """Return the jobs, those of services too, that nobody drove since then (Unix ms).

        Those that wait for a person's decision or answer are not among them.
        """
        waiting = await self._gates.waiting() if self._gates is not None else frozenset[JobId]()
        return [
            look.job.id
            async for some in self._history.look_at_jobs()
            for look in some
            if not look.alive
            and look.driven_at < before
            and look.job.status != "stoppedByInteractiveTool"
            and look.job.id not in waiting
        ]

    async def delete(self, job_ids: Sequence[JobId]) -> Pruned:
        """Remove these jobs and what only they refer to; what they wait at is withdrawn.

        Raises:
            NotFoundError: there is no such job; nothing is removed.
            ConflictError: a process drives one of them; nothing is removed.
            StorageError: not all of it could be removed.
        """
        for job_id in job_ids:
            if (await self._history.look_at_job(job_id)).alive:
                raise ConflictError(f"a process works on job {job_id}", hint="stop it first")
        gone: dict[JobId, int] = {}
        try:
            for job_id in dict.fromkeys(job_ids):
                gone[job_id] = await self._history.delete_job(job_id)
        finally:
            await self._close_gates(gone)
        return Pruned(tuple(gone), sum(gone.values()), await self._swept(None))

    async def prune(self, before: int) -> Pruned:
        """Remove the jobs that nobody drove since then (Unix ms); those taken up meanwhile stay.

        Raises:
            StorageError: not all of it could be removed.
        """
        gone: dict[JobId, int] = {}
        kept: list[JobId] = []
        try:
            for job_id in await self.older_than(before):
                try:
                    gone[job_id] = await self._history.delete_job(job_id)
                except ConflictError:
                    kept.append(job_id)
                except NotFoundError:
                    continue  # somebody else removed it
        finally:
            await self._close_gates(gone)
        return Pruned(tuple(gone), sum(gone.values()), await self._swept(before), tuple(kept))

    async def _close_gates(self, gone: Collection[JobId]) -> None:
        if self._gates is not None and gone:
            await self._gates.close(gone)

    async def _swept(self, before: int | None) -> Swept:
        return await to_thread.run_sync(lambda: self._snapshots.sweep(before=before))

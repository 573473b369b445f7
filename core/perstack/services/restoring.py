"""Putting a workspace's files back as they were, without losing what anybody did since."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anyio import to_thread

from perstack.domain.ids import JobId
from perstack.domain.settings import SnapshotSettings
from perstack.domain.snapshots import Manifest
from perstack.domain.travel import Moment, RestorePlan
from perstack.errors import ConflictError
from perstack.ports.system import Ids
from perstack.services.restore_plan import Restoration, plan_restoration
from perstack.services.travel import TravelService, folder_of


@dataclass(frozen=True, slots=True)
class Restoring:
    """What restoring did, and the name of the snapshot of what was there before."""

    plan: RestorePlan
    before: str


class Restorer:
    """Restores what `past` knows."""

    def __init__(self, past: TravelService, *, ids: Ids) -> None:
        self._past = past
        self._ids = ids
        self._history = past.history
        self._snapshots = past.snapshots
        self._workspace = past.workspace

    async def plan(self, moment: Moment, *, only: Collection[str] = ()) -> RestorePlan:
        """Return what restoring the moment's files would do.

        Raises:
            NotFoundError: no snapshot was taken.
            LimitError: the folder has too many files now.
        """
        target = await self._past.files_taken(moment)
        settings = (await self._past.recorded(moment)).settings
        folder, beside = await self._beside(moment.job_id)
        now = await to_thread.run_sync(self._snapshots.look, folder, settings)
        return (await to_thread.run_sync(self._planned, target, now, folder, beside, (), only)).plan

    async def restore(
        self, moment: Moment, *, also: Collection[str] = (), only: Collection[str] = ()
    ) -> Restoring:
        """Restore files, after a snapshot of what is there; of those kept, only `also`.

        With `only`, these files and folders alone, though they changed since.

        Raises:
            ConflictError: a process drives a job of the folder.
            NotFoundError: no snapshot was taken.
            StorageError: nothing could be stored or restored.
        """
        target = await self._past.files_taken(moment)
        settings = (await self._past.recorded(moment)).settings
        return await self._apply(target, moment.job_id, settings, also, only)

    async def again(self, name: str, *, only: Collection[str] = ()) -> Restoring:
        """Put back what was there before a restoration of the workspace, as `restore` does.

        Raises:
            NotFoundError: nothing of that name was kept.
        """
        target = await to_thread.run_sync(self._snapshots.kept, name)
        return await self._apply(target, None, SnapshotSettings(), (), only)

    async def _apply(
        self,
        target: Manifest,
        job_id: JobId | None,
        settings: SnapshotSettings,
        also: Collection[str],
        only: Collection[str],
    ) -> Restoring:
        folder, beside = await self._beside(job_id)
        await self._refuse_driven(folder)
        name, later = self._ids.new(), self._ids.new()

        def work() -> RestorePlan:
            now = self._snapshots.keep_now(folder, settings, name)
            # What is there now is in a snapshot from here on, but nobody had seen it before.
            planned = self._planned(target, now, folder, beside, also, only, without=name)
            done = self._snapshots.restore(folder, planned.wanted, now)
            self._snapshots.keep_now(folder, settings, later)
            return replace(
                planned.plan,
                written=tuple(each for each in planned.plan.written if each in done.written),
                removed=done.removed,
                kept=tuple(sorted({*planned.plan.kept, *done.kept})),
                missing=tuple(sorted({*planned.plan.missing, *done.missing})),
            )

        return Restoring(await to_thread.run_sync(work), name)

    def _planned(
        self,
        target: Manifest,
        now: Manifest,
        folder: Path,
        beside: Sequence[JobId],
        also: Collection[str],
        only: Collection[str],
        *,
        without: str | None = None,
    ) -> Restoration:
        newest = self._snapshots.newest(folder, beside, without=without)
        return plan_restoration(target, now, newest, also=also, only=only)

    async def _beside(self, job_id: JobId | None) -> tuple[Path, list[JobId]]:
        """Return a job's folder (None: the workspace) and all jobs that work in it."""
        jobs = await self._history.list_jobs()
        own = next((job for job in jobs if job.id == job_id), None)
        folder = folder_of(own, self._workspace) if own is not None else self._workspace
        return folder, [job.id for job in jobs if folder_of(job, self._workspace) == folder]

    async def _refuse_driven(self, folder: Path) -> None:
        async for some in self._history.look_at_jobs():
            for look in some:
                if look.alive and folder_of(look.job, self._workspace) == folder:
                    raise ConflictError(
                        f"job {look.job.id} works in {folder}",
                        hint="wait until it ends, or stop it; a fork leaves these files alone",
                    )

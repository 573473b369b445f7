"""Putting a workspace's files back as they were, without losing what anybody did since."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anyio import to_thread

from perstack.domain.ids import JobId
from perstack.domain.settings import SnapshotSettings
from perstack.domain.snapshots import KeptFiles, Manifest
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


Today = Callable[[], Awaitable[SnapshotSettings | None]]


class Restorer:
    """Restores what `past` knows.

    What is on the disk before a restoration is stored without what the restored moment's settings
    leave out, nor what those of `today` do; it returns None where nobody can tell them.
    """

    def __init__(self, past: TravelService, *, ids: Ids, today: Today) -> None:
        self._past = past
        self._ids = ids
        self._today = today
        self._history = past.history
        self._snapshots = past.snapshots
        self._workspace = past.workspace

    async def plan(self, moment: Moment, *, only: Collection[str] = ()) -> RestorePlan:
        """Return what restoring the moment's files would do.

        Raises:
            NotFoundError: no snapshot was taken.
            LimitError: the folder has too many files now.
        """
        return await self._plan(await self._of_moment(moment), only)

    async def plan_again(self, name: str, *, only: Collection[str] = ()) -> RestorePlan:
        """Return what `again` would do.

        Raises:
            NotFoundError: nothing of that name was kept.
            LimitError: the folder has too many files now.
        """
        return await self._plan(await to_thread.run_sync(self._snapshots.kept, name), only)

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
        return await self._apply(await self._of_moment(moment), also, only)

    async def again(self, name: str, *, only: Collection[str] = ()) -> Restoring:
        """Put back what was there before a restoration, into the same folder, as `restore` does.

        Raises:
            NotFoundError: nothing of that name was kept; and as `restore`.
        """
        kept = await to_thread.run_sync(self._snapshots.kept, name)
        return await self._apply(kept, (), only)

    async def _of_moment(self, moment: Moment) -> KeptFiles:
        files = await self._past.files_taken(moment)
        settings = (await self._past.recorded(moment)).settings
        return KeptFiles(await self._past.folder(moment.job_id), files, settings)

    async def _plan(self, target: KeptFiles, only: Collection[str]) -> RestorePlan:
        beside, settings = await self._beside(target.folder), await self._settings(target)

        def work() -> RestorePlan:
            now = self._snapshots.look(target.folder, settings)
            return self._planned(target, now, beside, (), only).plan

        return await to_thread.run_sync(work)

    async def _apply(
        self, target: KeptFiles, also: Collection[str], only: Collection[str]
    ) -> Restoring:
        folder = target.folder
        await self._refuse_driven(folder)
        beside, settings = await self._beside(folder), await self._settings(target)
        name, later = self._ids.new(), self._ids.new()

        def work() -> RestorePlan:
            now = self._snapshots.keep_now(folder, settings, name)
            # What is there now is in a snapshot from here on, but nobody had seen it before.
            planned = self._planned(target, now, beside, also, only, without=name)
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

    async def _settings(self, target: KeptFiles) -> SnapshotSettings:
        today = await self._today()
        return target.settings if today is None else target.settings.leaving_out(today.exclude)

    def _planned(
        self,
        target: KeptFiles,
        now: Manifest,
        beside: Sequence[JobId],
        also: Collection[str],
        only: Collection[str],
        *,
        without: str | None = None,
    ) -> Restoration:
        newest = self._snapshots.newest(target.folder, beside, without=without)
        return plan_restoration(target.files, now, newest, also=also, only=only)

    async def _beside(self, folder: Path) -> list[JobId]:
        """Return all jobs that work in a folder."""
        jobs = await self._history.list_jobs()
        return [job.id for job in jobs if folder_of(job, self._workspace) == folder]

    async def _refuse_driven(self, folder: Path) -> None:
        async for some in self._history.look_at_jobs():
            for look in some:
                if look.alive and folder_of(look.job, self._workspace) == folder:
                    raise ConflictError(
                        f"job {look.job.id} works in {folder}",
                        hint="wait until it ends, or stop it; a fork leaves these files alone",
                    )

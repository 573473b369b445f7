"""Comparing: one task done by several contestants side by side, each in a copy of the workspace."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import anyio
from anyio import to_thread

from perstack.domain.comparisons import (
    ComparisonId,
    Contest,
    Contestant,
    ContestantState,
    ContestRow,
)
from perstack.domain.ids import ExpertKey
from perstack.domain.settings import SnapshotSettings
from perstack.engine.control import StopControl
from perstack.engine.groups import unwrapped
from perstack.engine.plan import Ending, JobOutcome, Listener
from perstack.errors import PerstackError
from perstack.ports.comparisons import ComparisonStore
from perstack.ports.system import Clock, Ids
from perstack.services.comparison_files import ComparisonFiles
from perstack.services.comparison_hearing import Hears

_LOG: Final = logging.getLogger(__name__)
_ID: Final = 12
_SAVED_EVERY_S: Final = 0.5
_LOOKED_EVERY_S: Final = 0.25
_STATES: Final[dict[Ending, ContestantState]] = {
    "completed": "completed",
    "asked": "asked",
    "limit": "limit",
    "failed": "failed",
    "stopped": "stopped",
    "awaiting": "awaiting",
}
_EXIT_CODES: Final[dict[Ending, int]] = {
    "completed": 0,
    "asked": 0,
    "awaiting": 3,
    "limit": 6,
    "failed": 1,
    "stopped": 1,
}


class Entrant(Protocol):
    """A contestant that is opened in its folder."""

    @property
    def model(self) -> str | None:
        """The model that it asks, None where a program chooses one."""
        ...

    @property
    def options(self) -> tuple[str, ...]:
        """What goes on with its job on a command line, beside its folder."""
        ...

    async def run(
        self, expert: ExpertKey, query: str, *, listener: Listener, control: StopControl
    ) -> JobOutcome:
        """Run a job until it stops.

        Raises:
            PerstackError: it could not be started, or its history not written.
        """
        ...


class Entrants(Protocol):
    """Opens contestants."""

    def open(self, contestant: Contestant, folder: Path) -> AbstractAsyncContextManager[Entrant]:
        """Open one in its folder.

        Raises:
            PerstackError: it cannot be: a key is missing, say.
        """
        ...


@dataclass(frozen=True, slots=True)
class ContestWish:
    """What to compare. `at_once` contestants work at the same time, at most.

    `copied` says what of the workspace is left out of the copies. `id` None: a new one.
    """

    expert: ExpertKey
    query: str
    contestants: tuple[Contestant, ...]
    copied: SnapshotSettings
    at_once: int = 8
    id: ComparisonId | None = None


class Comparing:
    """Runs comparisons of one workspace in this process."""

    def __init__(
        self,
        store: ComparisonStore,
        entrants: Entrants,
        workspace: Path,
        *,
        clock: Clock,
        ids: Ids,
        redact: Callable[[str], str],
    ) -> None:
        self._store = store
        self._entrants = entrants
        self._workspace = workspace.absolute()
        self._clock = clock
        self._ids = ids
        self._redact = redact

    async def run(
        self,
        wish: ContestWish,
        *,
        control: StopControl,
        on_change: Callable[[Contest], None],
    ) -> Contest:
        """Run a comparison until all contestants have stopped; return how it ended.

        `on_change` hears of every change, the first being that it exists. A contestant that fails,
        or cannot be started, is a row that says so. Whoever is stopped by `control` stops at a
        checkpoint. The record is on the disk at most half a second later, each end at once.

        Raises:
            ConflictError: there is a comparison with this id.
            LimitError: the workspace has too many files.
            StorageError: the comparison cannot be kept.
        """
        rows = tuple(
            ContestRow(label=one.label, runtime=one.runtime, model=one.model)
            for one in wish.contestants
        )
        contest = Contest(
            id=wish.id or ComparisonId(self._ids.new()[:_ID]),
            expert=wish.expert,
            query=self._redact(wish.query),
            started_at=self._clock.now_ms(),
            rows=rows,
        )
        files = ComparisonFiles(self._store, contest.id)
        await to_thread.run_sync(self._begin, contest, files, wish.copied)
        going = _Going(self._store, contest, on_change)
        try:
            on_change(contest)
            with unwrapped():
                async with anyio.create_task_group() as group:
                    group.start_soon(going.keep_saved, name="compare:save")
                    group.start_soon(self._obey, contest.id, control, name="compare:stop")
                    await self._all(wish, files, going, control)
                    group.cancel_scope.cancel()
            return await self._end(going)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._store.release, contest.id)

    def _begin(self, contest: Contest, files: ComparisonFiles, copied: SnapshotSettings) -> None:
        self._store.begin(contest)
        try:
            files.keep_start(self._workspace, copied)
            self._store.save(contest)
        except BaseException:
            # Nothing of it has happened.
            self._store.release(contest.id)
            self._store.remove(contest.id)
            raise

    async def _end(self, going: _Going) -> Contest:
        going.change(going.contest.model_copy(update={"finished_at": self._clock.now_ms()}))
        await going.save()
        return going.contest

    async def _obey(self, comparison_id: ComparisonId, control: StopControl) -> None:
        """Stop when another process asks for it."""
        asked = partial(self._store.is_asked_to_stop, comparison_id)
        while not await to_thread.run_sync(asked):  # noqa: ASYNC110  another process says it
            await anyio.sleep(_LOOKED_EVERY_S)
        control.stop("user")

    async def _all(
        self, wish: ContestWish, files: ComparisonFiles, going: _Going, control: StopControl
    ) -> None:
        limiter = anyio.CapacityLimiter(wish.at_once)
        async with anyio.create_task_group() as group:
            for contestant in wish.contestants:
                work = _Work(
                    store=self._store,
                    entrants=self._entrants,
                    workspace=self._workspace,
                    wish=wish,
                    files=files,
                    going=going,
                    clock=self._clock,
                    redact=self._redact,
                )
                group.start_soon(
                    work.run, contestant, limiter, control, name=f"compare:{contestant.label}"
                )


class _Going:
    """A comparison that goes on: as it is, and what of it is on the disk."""

    def __init__(
        self, store: ComparisonStore, contest: Contest, on_change: Callable[[Contest], None]
    ) -> None:
        self.contest = contest
        self._saved = contest
        self._store = store
        self._on_change = on_change
        self._one = anyio.Lock()

    def change(self, contest: Contest) -> None:
        """Take it as it is now, and tell."""
        if contest != self.contest:
            self.contest = contest
            self._on_change(contest)

    def row(self, label: str) -> ContestRow:
        """Return a contestant's row."""
        return next(row for row in self.contest.rows if row.label == label)

    def change_row(self, row: ContestRow) -> None:
        """Take a contestant's row as it is now."""
        self.change(self.contest.with_row(row))

    async def save(self) -> None:
        """Have on the disk what is known.

        Raises:
            StorageError: it could not be written.
        """
        async with self._one:
            known = self.contest
            if known is not self._saved:
                await to_thread.run_sync(self._store.save, known)
                self._saved = known

    async def keep_saved(self) -> None:
        """Save what changes, now and then, until cancelled."""
        while True:
            await anyio.sleep(_SAVED_EVERY_S)
            await self.save()


@dataclass(frozen=True, slots=True)
class _Work:
    """One contestant's part, from its folder to its end."""

    store: ComparisonStore
    entrants: Entrants
    workspace: Path
    wish: ContestWish
    files: ComparisonFiles
    going: _Going
    clock: Clock
    redact: Callable[[str], str]

    async def run(
        self, contestant: Contestant, limiter: anyio.CapacityLimiter, control: StopControl
    ) -> None:
        """Run it; what goes wrong becomes its row's."""
        label = contestant.label
        async with limiter:
            if control.stopping:
                self._change(label, state="stopped")
                return
            try:
                skipped = await to_thread.run_sync(self.files.copy, self.workspace, label)
                self._change(label, skipped=skipped)
                await self._work(contestant, control)
            except PerstackError as error:
                self._failed(label, error)
            except Exception as bug:  # noqa: BLE001  one contestant takes no other with it
                _LOG.exception("contestant %s", label)
                self._failed(label, PerstackError(f"unexpected error: {bug}"))
            await self._keep_end(label)
        await self.going.save()

    async def _work(self, contestant: Contestant, control: StopControl) -> None:
        label = contestant.label
        folder = self.store.folder(self.going.contest.id, label)
        with control.below() as own:
            async with self.entrants.open(contestant, folder) as entrant:
                hears = Hears(lambda: self.going.row(label), self.going.change_row)
                self._change(
                    label,
                    state="running",
                    started_at=self.clock.now_ms(),
                    model=entrant.model or contestant.model,
                    options=entrant.options,
                )
                ended = await entrant.run(
                    self.wish.expert, self.wish.query, listener=hears, control=own
                )
                self._ended(label, ended)

    def _ended(self, label: str, ended: JobOutcome) -> None:
        outcome, row = ended.outcome, self.going.row(label)
        error = outcome.error.message if outcome.error is not None else None
        if outcome.overrun is not None:
            error = str(outcome.overrun)
        self._change(
            label,
            state=_STATES[outcome.ending],
            finished_at=self.clock.now_ms(),
            job_id=ended.job_id,
            steps=ended.spent.steps,
            usage=ended.spent.usage,
            cost=ended.spent.cost,
            text=outcome.text or row.text,
            error=error,
            hint=outcome.hint,
            exit_code=_EXIT_CODES[outcome.ending],
            consensus_id=outcome.consensus_id,
        )

    def _failed(self, label: str, error: PerstackError) -> None:
        # Whatever was recorded of its job can be looked at; without one there was no start.
        row = self.going.row(label)
        begun = row.job_id is not None
        self._change(
            label,
            state="failed" if begun else "unstarted",
            started_at=row.started_at if begun else None,
            finished_at=self.clock.now_ms(),
            error=self.redact(error.message),
            hint=error.hint,
            exit_code=error.exit_code,
            consensus_id=None,
        )

    async def _keep_end(self, label: str) -> None:
        try:
            changed = await to_thread.run_sync(self.files.keep_end, label)
        except PerstackError as error:
            _LOG.warning("the files of %s: %s", label, error.message)
        else:
            self._change(label, changed=changed)

    def _change(self, label: str, **update: object) -> None:
        self.going.change_row(self.going.row(label).model_copy(update=update))

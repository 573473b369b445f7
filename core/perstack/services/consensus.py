"""Consensus checkpoints: where risky work waits, and the verbs by which people release it."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import anyio
from anyio import to_thread

from perstack.domain.consensus import (
    SYSTEM,
    ConsensusCheckpoint,
    ConsensusStatus,
    Decision,
    Verdict,
)
from perstack.domain.ids import ConsensusId, JobId, RunId, SubtaskId
from perstack.domain.standing import StandingApproval
from perstack.errors import ConflictError, LockedError, NotFoundError, StorageError, UsageError
from perstack.ports.consensus import AuditEntry, ConsensusStore
from perstack.ports.stores import Stores
from perstack.ports.system import Clock
from perstack.services.ancestry import refuse_if_inside_run
from perstack.services.changes import Changes
from perstack.services.given_answers import with_answer
from perstack.services.handle import Handle
from perstack.services.standing import standing_of
from perstack.services.whoami import whoami

T = TypeVar("T")

POLL_S: Final = 0.1
SHORTEST_PREFIX: Final = 4

_LOG: Final = logging.getLogger(__name__)
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_DECIDED: Final[tuple[ConsensusStatus, ...]] = ("approved", "rejected", "expired")


@dataclass(frozen=True, slots=True)
class Inbox:
    """All pending checkpoints and the latest decided ones, both newest first."""

    pending: tuple[ConsensusCheckpoint, ...]
    decided: tuple[ConsensusCheckpoint, ...]


class ConsensusService:
    """Implements `ports.consensus.Gate`, and what a reviewer can do.

    `auto_reject` decides what becomes of overdue checkpoints; it may be set anew at any time.
    """

    def __init__(
        self,
        stores: Handle[Stores],
        *,
        clock: Clock,
        workspace: Path,
        auto_reject: bool = False,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._workspace = workspace
        self.auto_reject = auto_reject
        self._changes = Changes(lambda: self._ask(lambda store: store.version()))

    # -------------------------------------------------------------- the gate

    async def propose(self, checkpoint: ConsensusCheckpoint) -> None:
        """Write the checkpoint for reviewers to see; again with the same id does nothing.

        A locked database is waited for, without end: a run must not end because of it.

        Raises:
            ConflictError: one with that id but other content exists.
            StorageError: it could not be written.
        """
        while True:
            try:
                await self._ask(lambda store: store.create(checkpoint))
            except LockedError as error:
                _LOG.warning("proposing %s: %s", checkpoint.id, error.message)
                await anyio.sleep(POLL_S)
            else:
                self._changes.note()
                return

    async def wait(
        self, consensus_id: ConsensusId, *, poll_s: float = POLL_S
    ) -> ConsensusCheckpoint:
        """Return the checkpoint once it was decided or has expired, to which it sees as well.

        Another process's decision is seen in about `poll_s`; a locked database is waited for.

        Raises:
            NotFoundError: it was never proposed.
            StorageError: the database is damaged or gone.
        """
        seen, found = "", None
        while True:
            changed = self._changes.next
            try:
                version = await self._changes.look(poll_s / 2)
                if found is None or version != seen:
                    found, seen = await self.show(consensus_id), version
                if found.status != "pending":
                    return found
                if _is_due(found, self._clock.now_ms()):
                    await self.sweep()
                    found = None
                    continue
            except LockedError as error:
                _LOG.warning("waiting for a decision: %s", error.message)
            await _pause(changed, poll_s, self._clock.now_ms(), found)

    async def withdraw(self, consensus_id: ConsensusId, why: str) -> None:
        """Close a checkpoint that nothing waits at any more; a decision stays as it is."""
        decision = Decision(approved=False, feedback=why, reviewed_by=SYSTEM, reviewer_type="agent")
        now = self._clock.now_ms()
        try:
            await self._ask(lambda store: store.decide(consensus_id, decision, now_ms=now))
        except (ConflictError, NotFoundError):
            return
        self._changes.note()

    # ------------------------------------------------------------- reviewers

    async def find(self, text: str) -> ConsensusId:
        """Return the id that `text` is, or is the only one to begin with (4 characters or more).

        Raises:
            NotFoundError: there is none.
            UsageError: there are several.
        """
        wanted = text.strip()
        found: Sequence[ConsensusId] = ()
        if _ID.fullmatch(wanted):
            found = await self._ask(lambda store: store.find_ids(wanted))
        return _the_one(wanted, found)

    async def show(self, consensus_id: ConsensusId) -> ConsensusCheckpoint:
        """Return one checkpoint.

        Raises:
            NotFoundError: there is no such one.
        """
        return await self._ask(lambda store: store.get(consensus_id))

    async def list(
        self, *, statuses: Sequence[ConsensusStatus] = (), limit: int = 100
    ) -> Sequence[ConsensusCheckpoint]:
        """Return those with any of `statuses` (all when empty), newest first."""
        return await self._ask(lambda store: store.list(statuses=statuses, limit=limit))

    async def find_by_run(self, run_id: RunId) -> Sequence[ConsensusCheckpoint]:
        """Return a run's checkpoints, newest first."""
        return await self._ask(lambda store: store.find_by_run(run_id))

    async def audit(self, consensus_id: ConsensusId) -> Sequence[AuditEntry]:
        """Return what happened to a checkpoint, in order."""
        return await self._ask(lambda store: store.audit(consensus_id))

    async def decide(
        self,
        consensus_id: ConsensusId,
        *,
        approved: bool,
        rejected_subtask_ids: Sequence[SubtaskId] = (),
        feedback: str | None = None,
        reviewed_by: str | None = None,
        allow_self: bool = False,
        standing: bool = False,
    ) -> ConsensusCheckpoint:
        """Decide, as `reviewed_by` or else as the user of this process.

        Approving with `rejected_subtask_ids` keeps the other subtasks; not approving rejects all.
        `allow_self`: this process drives jobs, and a person pressed the key. `standing`: the kept
        tools with exactly these arguments need no decision any more in this job.

        Raises:
            DeniedError: this process is a run or was started by one.
            NotFoundError: no such checkpoint.
            UsageError: a subtask is unknown, nothing would be kept, or what is kept cannot be
                `standing`: a delegation, what is of high risk, what holds a secret.
            ConflictError: somebody was first, or it has expired.
        """
        decision = Decision(
            approved=approved,
            rejected_subtask_ids=tuple(rejected_subtask_ids),
            feedback=(feedback or "").strip() or None,
            reviewed_by=reviewed_by or whoami(),
        )
        return await self.record(consensus_id, decision, allow_self=allow_self, standing=standing)

    async def answer(
        self, consensus_id: ConsensusId, text: str, *, reviewed_by: str | None = None
    ) -> ConsensusCheckpoint:
        """Answer a tool server's question: a JSON object, or the value of its only field.

        Raises:
            UsageError: nothing is asked there, or the answer does not fit; it stays pending.
            DeniedError, NotFoundError, ConflictError: as for `decide`.
        """
        if (await self.show(consensus_id)).form is None:
            raise UsageError(
                f"consensus checkpoint {consensus_id} asks no question",
                hint=f"perstack consensus approve|reject {consensus_id}",
            )
        return await self.decide(
            consensus_id, approved=True, feedback=text, reviewed_by=reviewed_by
        )

    async def record(
        self,
        consensus_id: ConsensusId,
        decision: Decision,
        *,
        allow_self: bool = False,
        standing: bool = False,
    ) -> ConsensusCheckpoint:
        """Do as `decide`, with a decision that is already made up.

        Raises:
            UsageError: it answers a tool server's question with something that does not fit.
        """
        refuse = partial(refuse_if_inside_run, self._workspace, allow_self=allow_self)
        await to_thread.run_sync(refuse)
        given: Sequence[StandingApproval] = ()
        if standing:
            asked = await self.show(consensus_id)
            given = standing_of(asked, decision, now_ms=self._clock.now_ms())
        answered = await with_answer(self.show, consensus_id, decision)
        return await self._settle(consensus_id, answered, given)

    async def standing_of(self, job_id: JobId) -> Sequence[StandingApproval]:
        """Return a job's standing approvals; also those taken back."""
        return await self._ask(lambda store: store.list_standing(job_id))

    async def record_verdict(
        self, consensus_id: ConsensusId, verdict: Verdict, *, reviewer: str
    ) -> ConsensusCheckpoint:
        """Decide as a reviewing Expert that this process runs. Not for front doors.

        Raises:
            NotFoundError, UsageError, ConflictError: as for `decide`.
        """
        decision = Decision(
            approved=verdict.approved,
            rejected_subtask_ids=verdict.rejected_subtask_ids,
            feedback=verdict.feedback,
            reviewed_by=reviewer,
            reviewer_type="agent",
        )
        return await self._settle(consensus_id, decision)

    async def _settle(
        self,
        consensus_id: ConsensusId,
        decision: Decision,
        standing: Sequence[StandingApproval] = (),
    ) -> ConsensusCheckpoint:
        """Decide; who comes too late sees to the expiry."""
        now = self._clock.now_ms()
        try:
            decided = await self._ask(
                lambda store: store.decide(consensus_id, decision, now_ms=now, standing=standing)
            )
        except ConflictError:
            await self.sweep()
            raise
        self._changes.note()
        return decided

    async def sweep(self) -> Sequence[ConsensusCheckpoint]:
        """Expire, or with `auto_reject` reject, what is pending and overdue; return those."""
        now = self._clock.now_ms()
        settled = await self._ask(
            lambda store: store.expire_due(now_ms=now, auto_reject=self.auto_reject)
        )
        if settled:
            self._changes.note()
        return settled

    async def inbox(self, *, decided: int = 20) -> Inbox:
        """Return what is pending, and the `decided` newest of what is not."""
        pending = await self.list(statuses=("pending",), limit=1_000)
        return Inbox(tuple(pending), tuple(await self.list(statuses=_DECIDED, limit=decided)))

    async def watch(
        self, *, decided: int = 20, poll_s: float = POLL_S
    ) -> AsyncGenerator[Inbox, None]:
        """Yield the inbox, and again whenever it changed, until closed. Sees to expiry as well.

        Raises:
            StorageError: the database cannot be read (`LockedError`: now); calling again retries.
        """
        seen: str | None = None
        inbox = Inbox((), ())
        while True:
            changed = self._changes.next
            version = await self._changes.look(poll_s / 2)
            if version != seen:
                seen, inbox = version, await self.inbox(decided=decided)
                yield inbox
            now = self._clock.now_ms()
            if any(_is_due(one, now) for one in inbox.pending) and await self.sweep():
                continue
            await _pause(changed, poll_s, self._clock.now_ms(), *inbox.pending)

    async def aclose(self) -> None:
        """Close the stores; they open again when something is asked."""
        await self._stores.aclose()

    # ------------------------------------------------------------- internals

    async def _ask(self, question: Callable[[ConsensusStore], Awaitable[T]]) -> T:
        try:
            return await self._stores.ask(lambda stores: question(stores.consensus))
        except StorageError:
            self._changes.forget()
            raise


async def _pause(
    changed: anyio.Event, poll_s: float, now: int, *awaited: ConsensusCheckpoint | None
) -> None:
    """Wait for a change by this process, the next look, or the first expiry."""
    left = [one.expires_at - now for one in awaited if one and one.expires_at is not None]
    with anyio.move_on_after(min([poll_s, *(max(ms, 1) / 1000 for ms in left)])):
        await changed.wait()


def _the_one(wanted: str, found: Sequence[ConsensusId]) -> ConsensusId:
    """Return the id that `wanted` means among those that begin with it."""
    if wanted in found:
        return ConsensusId(wanted)
    if not found or len(wanted) < SHORTEST_PREFIX:
        raise NotFoundError("Checkpoint not found", hint="perstack consensus list --all shows them")
    if len(found) > 1:
        raise UsageError(
            f"several consensus checkpoints begin with {wanted!a}", hint="give more of the id"
        )
    return found[0]


def _is_due(checkpoint: ConsensusCheckpoint, now_ms: int) -> bool:
    return checkpoint.expires_at is not None and checkpoint.expires_at <= now_ms

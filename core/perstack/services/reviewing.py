"""Reviews of consensus checkpoints by Experts: a gate that has what it is given looked at.

A review may reject by itself. It approves by itself only up to the risk `reviewerMayApprove`; else
its words are kept as a recommendation, and a person decides. Whatever goes wrong with a review,
the checkpoint waits for a person as if there had been none.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from perstack.domain.base import Model
from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.ids import ConsensusId, ExpertKey, JobId
from perstack.domain.standing import StandingApproval
from perstack.engine.groups import alone
from perstack.errors import ConfigError, ConflictError, NotFoundError, PerstackError
from perstack.services.ancestry import refuse_if_inside_run
from perstack.services.consensus import ConsensusService
from perstack.services.review_run import (
    ReviewParts,
    ReviewRun,
    needs_review,
    patiently,
    reviewer_of,
)

SWEEP_S: Final = 60.0

_LOG: Final = logging.getLogger(__name__)


class ReviewStart(Model):
    """Whether a review begins, and by whom; `reason` says why not."""

    checkpoint_id: ConsensusId
    started: bool
    agent_type: ExpertKey | None = None
    reason: str | None = None


@asynccontextmanager
async def open_reviewer(parts: ReviewParts) -> AsyncGenerator[Reviewer]:
    """Open a gate whose checkpoints are reviewed by this process until it is closed.

    Meanwhile checkpoints that nobody waits at expire in time, too.

    Raises:
        ConfigError: the strategy is "different-model" and no `reviewerModel` is named.
    """
    rules = parts.rules
    if rules.enabled and rules.reviewer_strategy == "different-model" and not rules.reviewer_model:
        raise ConfigError(
            'consensus.reviewerStrategy is "different-model", but no model is named',
            hint='set reviewerModel = "…" in [consensus], a model other than the project\'s',
        )
    with alone():
        async with anyio.create_task_group() as group:
            if rules.enabled:
                group.start_soon(_sweep, parts.consensus, name="consensus:sweep")
            try:
                yield Reviewer(parts, group)
            finally:
                group.cancel_scope.cancel()


class Reviewer:
    """Implements `ports.consensus.Gate` around the consensus service; made by `open_reviewer`."""

    def __init__(self, parts: ReviewParts, group: TaskGroup) -> None:
        self._parts = parts
        self._group = group
        self._attended: set[ConsensusId] = set()

    async def propose(self, checkpoint: ConsensusCheckpoint) -> None:
        """Write the checkpoint, and have it reviewed meanwhile if it is one to be reviewed."""
        await self._parts.consensus.propose(checkpoint)
        self._begin(checkpoint.id)

    async def wait(self, consensus_id: ConsensusId) -> ConsensusCheckpoint:
        """Return the checkpoint once it is decided; a review that a dead process left is made."""
        self._begin(consensus_id)
        return await self._parts.consensus.wait(consensus_id)

    async def show(self, consensus_id: ConsensusId) -> ConsensusCheckpoint:
        """Return the checkpoint as it stands."""
        return await self._parts.consensus.show(consensus_id)

    async def standing_of(self, job_id: JobId) -> Sequence[StandingApproval]:
        """Return the standing approvals of a job."""
        return await self._parts.consensus.standing_of(job_id)

    async def withdraw(self, consensus_id: ConsensusId, why: str) -> None:
        """Close a checkpoint that nothing waits at any more."""
        await self._parts.consensus.withdraw(consensus_id, why)

    async def start_review(
        self, consensus_id: ConsensusId, *, allow_self: bool = False
    ) -> ReviewStart:
        """Have a pending checkpoint reviewed now; a review that failed may be made again.

        With the strategy "human" nothing is started: people decide. `allow_self`: this process
        drives jobs, and a person asked for it.

        Raises:
            NotFoundError: `Checkpoint not found`.
            ConflictError: `Checkpoint is already …`, or `Checkpoint has expired`.
            DeniedError: this process is a run or was started by one.
        """
        await self._refuse_runs(allow_self=allow_self)
        await self._parts.consensus.sweep()
        try:
            asked = await self.show(consensus_id)
        except NotFoundError as error:
            raise NotFoundError("Checkpoint not found", hint=error.hint) from error
        if asked.status != "pending":
            said = "has expired" if asked.status == "expired" else f"is already {asked.status}"
            raise ConflictError(f"Checkpoint {said}")
        reviewer = reviewer_of(asked)
        why_not = None if needs_review(asked) else "It was reviewed already."
        if reviewer is None:
            why_not = "It waits for a human."
        if why_not is None:
            self._attended.discard(asked.id)
            self._begin(asked.id)
        return ReviewStart(
            checkpoint_id=asked.id, started=why_not is None, agent_type=reviewer, reason=why_not
        )

    def _begin(self, consensus_id: ConsensusId) -> None:
        """See to the review of a checkpoint, once."""
        if consensus_id not in self._attended:
            self._attended.add(consensus_id)
            self._group.start_soon(self._attend, consensus_id, name=f"review:{consensus_id}")

    async def _attend(self, consensus_id: ConsensusId) -> None:
        """Review if that is due; says what goes wrong, and never raises."""
        try:
            asked = await patiently(partial(self.show, consensus_id))
            reviewer = reviewer_of(asked)
            if reviewer is not None and needs_review(asked):
                await self._refuse_runs(allow_self=True)
                await self._review(asked, reviewer)
        except NotFoundError:
            # The run that waits at it proposes it now.
            self._attended.discard(consensus_id)
        except PerstackError as error:
            _LOG.warning(
                "consensus checkpoint %s is not reviewed, a person has to decide: %s",
                consensus_id,
                error.message,
            )
        except Exception:  # noqa: BLE001  a broken review must not end the work that waits for it
            _LOG.exception("the review of consensus checkpoint %s broke", consensus_id)

    async def _review(self, asked: ConsensusCheckpoint, reviewer: ExpertKey) -> None:
        """Review, unless another process does; what one leaves that dies is taken over."""
        while needs_review(asked):
            review = ReviewRun(self._parts, asked, reviewer)
            if await review.claim():
                return await review.conclude()
            await anyio.sleep(self._parts.renew_s)
            asked = await patiently(partial(self.show, asked.id))
        return None

    async def _refuse_runs(self, *, allow_self: bool) -> None:
        await to_thread.run_sync(
            partial(refuse_if_inside_run, self._parts.workspace, allow_self=allow_self)
        )


async def _sweep(consensus: ConsensusService) -> None:
    """Expire what is overdue every minute; when the database cannot be had, the next time."""
    while True:
        await anyio.sleep(SWEEP_S)
        try:
            await consensus.sweep()
        except PerstackError as error:
            _LOG.warning("overdue consensus checkpoints were not looked for: %s", error.message)

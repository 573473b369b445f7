"""Jobs as they were at their checkpoints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, JobId
from perstack.errors import ConflictError, UsageError
from perstack.ports.frontend import Continuation
from perstack.ports.system import RandomIds, SystemClock
from perstack.services.forking import Forker
from perstack.services.restoring import Restorer, Today
from perstack.services.travel import TravelService
from perstack_tui.ports.travel import Comparison, ForkWish, Moment, MomentView, RestorePlan

GoOn = Callable[[Continuation, JobId], Awaitable[None]]
Experts = Callable[[JobId], Awaitable[Mapping[ExpertKey, Expert]]]


class LocalTravel:
    """Implements `ports.travel.Travel`. `go_on` drives a job here, `experts` are today's for a job.

    So is `left_out`: what snapshots are not to store.
    """

    def __init__(self, past: TravelService, go_on: GoOn, experts: Experts, left_out: Today) -> None:
        self._past = past
        self._go_on = go_on
        self._experts = experts
        self._restorer = Restorer(past, ids=RandomIds(), today=left_out)
        self._forker = Forker(past, clock=SystemClock(), ids=RandomIds())

    async def look(self, moment: Moment) -> MomentView:
        """Return the moment."""
        return await self._past.look(moment)

    async def compare(self, before: Moment, after: Moment) -> Comparison:
        """Compare two moments of any runs and jobs of the workspace."""
        return await self._past.compare(before, after)

    async def file_diff(self, before: Moment, after: Moment, path: str) -> Sequence[str]:
        """Return a unified diff of a file between two moments, line by line without newlines."""
        return await self._past.file_diff(before, after, path)

    async def file_text(self, moment: Moment, path: str) -> str:
        """Return a file as it was, with replacement characters for what is no UTF-8."""
        return await self._past.file_text(moment, path)

    async def plan_restore(self, moment: Moment) -> RestorePlan:
        """Return what restoring the moment's files would do."""
        return await self._restorer.plan(moment)

    async def restore(self, moment: Moment, *, also: Sequence[str] = ()) -> RestorePlan:
        """Restore files, after a snapshot of what is there; of those kept, only `also`."""
        return (await self._restorer.restore(moment, also=also)).plan

    async def why_not_resume(self, moment: Moment) -> str | None:
        """Return why the job cannot go on from there (a delegate's run, say), None if it can."""
        return await self._past.why_not_resume(moment)

    async def wants_text(self, moment: Moment) -> str | None:
        """Return why something has to be said to go on from there, None if nothing has to be."""
        if await self._past.asks(moment):
            return "a question waits there: say the answer to go on"
        if await self._past.has_ended(moment):
            return "the run was done there: say how it goes on"
        return None

    async def resume(self, moment: Moment, text: str | None = None) -> JobId:
        """Go on with the job from the moment, in this process; later checkpoints stay, a branch.

        Raises:
            ConflictError: a process drives it, or it cannot go on from there.
            UsageError: something has to be said.
        """
        if (why := await self.why_not_resume(moment)) is not None:
            raise ConflictError(why)
        if not (text or "").strip() and (wants := await self.wants_text(moment)) is not None:
            raise UsageError(wants)
        asks = await self._past.asks(moment)
        wanted = Continuation(
            job_id=moment.job_id,
            checkpoint_id=moment.checkpoint_id,
            text=text or None,
            is_answer=asks,
        )
        await self._go_on(wanted, moment.job_id)
        return moment.job_id

    async def fork(self, moment: Moment, wish: ForkWish) -> JobId:
        """Start a new job from the moment; nothing that is there is overwritten.

        From a delegate's moment the new job is that delegate's alone. Where the moment waits for
        an answer, what is said is the answer; with nothing said, the job stays there.
        """
        asks = await self._past.asks(moment)
        now: Mapping[ExpertKey, Expert] = {}
        if wish.newest_definition:
            now = await self._experts(moment.job_id)
        job = await self._forker.fork(moment, wish, now)
        said = (wish.text or "").strip() or None
        if said is None and (asks or await self._past.has_ended(moment)):
            return job.id
        wanted = Continuation(
            job_id=job.id,
            text=said,
            is_answer=asks,
            own_definitions=not wish.newest_definition,
        )
        await self._go_on(wanted, job.id)
        return job.id

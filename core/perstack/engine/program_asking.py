"""What a program may not do unasked: a person decides, and it is told once."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal

import anyio

from perstack.config.secrets import REDACTED
from perstack.domain.events import ResolveApproval
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ToolCallPart
from perstack.domain.standing import canonical
from perstack.engine import approvals
from perstack.engine.machine import refusal
from perstack.engine.plan import RunOutcome
from perstack.errors import ProgramError
from perstack.ports.programs import Asks, Finished, Hearing, Permission, Report, Returned
from perstack.projection.run_state import Approval

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver

# Heard while a person thinks; beyond this the program has to wait.
_MOST_HEARD: Final = 64
_ANSWER_S: Final = 30.0


class Approved:
    """Calls that were approved when the program that had asked was gone; each passes once."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], deque[Approval]] = {}

    def keep(self, call: ToolCallPart, approval: Approval) -> None:
        """Let exactly this call pass when it is asked about again."""
        key = _exactly(call)
        # Where a secret was taken out, nobody can tell any more what was approved.
        if REDACTED not in key[1]:
            self._calls.setdefault(key, deque()).append(approval)

    def take(self, call: ToolCallPart) -> Approval | None:
        """Return the approval that lets it pass, None if there is none."""
        kept = self._calls.get(_exactly(call))
        return kept.popleft() if kept else None


class Answering:
    """The questions of one talk, one at a time."""

    def __init__(self, run: RunDriver, name: str, approved: Approved) -> None:
        self._run = run
        self._name = name
        self._approved = approved
        self._heard: deque[Report | ProgramError] = deque()
        # The call that the program does not do before it is answered.
        self._asked: ToolCallId | None = None

    def heard_meanwhile(self) -> Report | None:
        """Return what the program reported while a person thought, in order; None: nothing more.

        Raises:
            ProgramError: it failed then.
        """
        report = self._heard.popleft() if self._heard else None
        if isinstance(report, ProgramError):
            raise report
        return report

    def is_waiting(self, call: ToolCallId) -> bool:
        """Tell whether the program has not begun a call, because nobody allowed it yet."""
        return call == self._asked

    async def decide(
        self,
        report: Asks,
        call: ToolCallPart,
        hearing: Hearing,
        cut_off: Callable[[], Awaitable[None]],
    ) -> RunOutcome | None:
        """Have `call` decided and tell the program; `cut_off` is done before the run is suspended.

        Returns how the run ended, None when it goes on, or is stopping.
        """
        run, self._asked = self._run, call.tool_call_id
        if (before := self._approved.take(call)) is not None:
            await run.record(_again(before, call.tool_call_id), durable=True)
        else:
            await approvals.request(run, (call,))
            if call.tool_call_id in run.state.waiting_approval:
                if not run.job.plan.wait_at_gates:
                    await cut_off()
                ended = await self._wait(report, call, hearing)
                if ended is not None:
                    return None if ended == "moot" else ended
        approval = run.state.approvals.get(call.tool_call_id)
        if run.control.stopping or approval is None or approval.status == "waiting":
            return None
        self._asked = None
        why = refusal(run.state, call)
        with run.control.interruptible(), anyio.move_on_after(_ANSWER_S):
            await report.answer(Permission(why is None, why))
        return None

    async def _wait(
        self, report: Asks, call: ToolCallPart, hearing: Hearing
    ) -> RunOutcome | Literal["moot"] | None:
        """Wait for the decision, as long as the program waits for it, too; else it is moot."""
        run, id_ = self._run, call.tool_call_id
        consensus_id = run.state.approvals[id_].consensus_id
        ended: RunOutcome | None = None
        waits = anyio.CancelScope()

        async def listen() -> None:
            await self._listen(hearing, report.call.tool_call_id)
            if id_ in run.state.waiting_approval:
                waits.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(listen, name=f"{self._name}: meanwhile")
            with waits:
                ended = await approvals.wait(run, consensus_id)
            group.cancel_scope.cancel()
        if waits.cancelled_caught:
            self._asked = None
            await approvals.withdraw(run, "the program does not wait for it any more")
            why = f"{self._name} did not wait for a decision"
            await run.record(
                ResolveApproval(
                    consensus_id=consensus_id,
                    outcome="rejected",
                    approved=(),
                    rejected=(id_,),
                    feedback=why,
                )
            )
            return "moot"
        return ended

    async def _listen(self, hearing: Hearing, theirs: str) -> None:
        """Hear the program until it does not wait any more."""
        while True:
            if len(self._heard) >= _MOST_HEARD:
                await anyio.sleep_forever()
            try:
                report = await hearing.next()
            except ProgramError as error:
                self._heard.append(error)
                return
            self._heard.append(report)
            if isinstance(report, Finished):
                return
            if isinstance(report, Returned) and report.tool_call_id == theirs:
                return


def _again(before: Approval, call: ToolCallId) -> ResolveApproval:
    return ResolveApproval(
        consensus_id=before.consensus_id,
        outcome="approved",
        approved=(call,),
        rejected=(),
        feedback=before.feedback,
        decided_by=before.decided_by,
        standing_id=before.standing_id,
    )


def _exactly(call: ToolCallPart) -> tuple[str, str]:
    return call.tool_name, canonical(call.args)

"""Drives a run that another agent's program executes.

The program steps by itself; what it does is recorded as steps of the run as it is heard. Whatever
is wanted of the run (a stop, a pause, a word, another model) is done between two of its steps: the
program is ended, and started again with the session of its own that it kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perstack.domain.events import ToolReturned
from perstack.domain.program_events import BeginSession
from perstack.engine import approvals, calls, steering
from perstack.engine.groups import unwrapped
from perstack.engine.machine import refusal
from perstack.engine.plan import RunOutcome
from perstack.engine.program_account import Account
from perstack.engine.program_asking import Approved
from perstack.engine.program_talk import Conversation
from perstack.errors import ProgramError, SessionLostError
from perstack.ports.programs import Program

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver

_MEANWHILE: Final = "It was approved after you had stopped, so it is not done yet. Do it now."


async def drive(run: RunDriver, program: Program, before: BeginSession | None) -> RunOutcome:
    """Talk with the program until the run stops; `before` is the session that a fork follows."""
    lost: set[str] = set()
    approved, account = Approved(), Account(run)
    while True:
        if (ended := await _before_talking(run, approved)) is not None:
            return ended
        known = run.state.session or before
        if known is not None and known.session_id in lost:
            known = None
        try:
            with unwrapped():
                talk = Conversation(run, program, known, approved=approved, account=account)
                ended = await talk.hold()
        except SessionLostError as error:
            if known is None:
                return await run.fail(error)
            # It is told what was said so far instead.
            lost.add(known.session_id)
        except ProgramError as error:
            return await run.fail(error)
        if ended is not None:
            return ended


async def _before_talking(run: RunDriver, approved: Approved) -> RunOutcome | None:
    if run.control.stopping:
        return await run.suspend()
    if (ended := await _settled(run, approved)) is not None:
        return ended
    if (ended := await steering.at_boundary(run)) is not None:
        return ended
    over = run.job.over_budget
    return None if over is None else await run.reach(RunOutcome("limit", overrun=over))


async def _settled(run: RunDriver, approved: Approved) -> RunOutcome | None:
    """Wait for what an ended program waited for, and answer what it did not come to do."""
    for id_ in run.state.waiting_approval:
        gate = run.state.approvals[id_].consensus_id
        if (ended := await approvals.wait(run, gate)) is not None:
            return ended
    if run.control.stopping:
        return await run.suspend()
    questions = frozenset(run.state.pending_interactive)
    for call in await approvals.unchanged(run, run.state.pending_calls):
        if call.tool_call_id in questions:
            continue
        approval = run.state.approvals.get(call.tool_call_id)
        if approval is not None and approval.status == "approved":
            approved.keep(call, approval)
        text = refusal(run.state, call) or (_MEANWHILE if approval else "It was not done.")
        answer = calls.result(run, call, text, is_error=True)
        await run.record(ToolReturned(result=answer))
    if run.control.stopping:
        return await run.suspend()
    left = tuple(call for call in run.state.pending_calls if call.tool_call_id in questions)
    return await run.ask(left) if left else None

"""Calls that wait for a decision: one consensus checkpoint for all that one response gated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio

from perstack.domain.consensus import (
    ConsensusCheckpoint,
    ProposedSubtask,
    call_digest,
    estimate_risk,
    highest,
    why_required,
)
from perstack.domain.events import RequestApproval, ResolveApproval, ToolReturned
from perstack.domain.ids import ConsensusId, StandingId, SubtaskId, ToolCallId
from perstack.domain.messages import ToolCallPart
from perstack.domain.settings import ReviewerStrategy, RiskLevel
from perstack.domain.standing import (
    ExactCall,
    StandingApproval,
    canonical,
    definition_digest,
)
from perstack.engine.calls import result
from perstack.engine.plan import RunOutcome
from perstack.engine.toolset import query_of
from perstack.errors import LockedError, NotFoundError, PerstackError
from perstack.ports.notices import Notice
from perstack.projection.gates import subtask_phrase

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver

_TITLE_CHARACTERS: Final = 200
_WITHDRAW_S: Final = 2.0
_LOCKED_S: Final = 0.1


async def request(run: RunDriver, calls: tuple[ToolCallPart, ...]) -> None:
    """Record that `calls` wait, then show the checkpoint to reviewers.

    In this order: a recorded request whose checkpoint is missing is proposed again on resume,
    while a checkpoint that no run remembers would release nothing. What a standing approval
    covers does not wait.
    """
    calls = await _not_standing(run, calls)
    if not calls:
        return
    checkpoint = _checkpoint(run, calls, ConsensusId(run.job.deps.ids.new()))
    await run.record(
        RequestApproval(
            consensus_id=checkpoint.id,
            risk_level=checkpoint.risk_level,
            reason=checkpoint.reason,
            subtasks={task.id: task.tool_call_id for task in checkpoint.proposed_subtasks},
            expires_at=checkpoint.expires_at,
        ),
        durable=True,
    )
    # What a stop cuts off here is proposed again on resume.
    with run.control.interruptible() as scope:
        await run.job.deps.gate.propose(checkpoint)
    if scope.cancel_called:
        return
    run.job.notify(
        Notice(
            kind="consensus",
            job_id=run.job.job_id,
            run_id=run.run_id,
            expert_key=run.expert.key,
            title=subtask_phrase(checkpoint.proposed_subtasks[0], _TITLE_CHARACTERS),
            risk=checkpoint.risk_level,
            consensus_id=checkpoint.id,
            expires_at=checkpoint.expires_at,
        )
    )


async def _not_standing(
    run: RunDriver, calls: tuple[ToolCallPart, ...]
) -> tuple[ToolCallPart, ...]:
    """Record which of `calls` somebody let pass for the rest of the job; return the others.

    A locked database is waited for, until the run is stopped: then none of them goes on.
    """
    tools = [call for call in calls if _is_tool(run, call)]
    if not tools:
        return calls
    given: Sequence[StandingApproval] | None = None
    with run.control.interruptible():
        given = await _standing(run)
    if given is None:
        return ()
    passed: dict[StandingId, list[ToolCallId]] = {}
    for call in tools:
        covers = next((one for one in given if _lets_pass(run, one, call)), None)
        if covers is not None:
            passed.setdefault(covers.id, []).append(call.tool_call_id)
    for one in given:
        if one.id in passed:
            await run.record(_passed(one, passed[one.id]), durable=True)
    done = {call for some in passed.values() for call in some}
    return tuple(call for call in calls if call.tool_call_id not in done)


def _lets_pass(run: RunDriver, given: StandingApproval, call: ToolCallPart) -> bool:
    """Tell whether it stands, is of exactly this call, and the risk is not high by now."""
    if given.is_revoked or not given.covers(_exactly(run, call)):
        return False
    return _risk(run, call) != "high"


def _passed(given: StandingApproval, calls: list[ToolCallId]) -> ResolveApproval:
    return ResolveApproval(
        consensus_id=given.consensus_id,
        outcome="approved",
        approved=tuple(calls),
        rejected=(),
        decided_by=given.approved_by,
        standing_id=given.id,
    )


async def _standing(run: RunDriver) -> Sequence[StandingApproval]:
    while True:
        try:
            return await run.job.deps.gate.standing_of(run.job.job_id)
        except LockedError:
            await anyio.sleep(_LOCKED_S)


async def wait(run: RunDriver, consensus_id: ConsensusId) -> RunOutcome | None:
    """Wait for the decision and record it before anything that it allows begins."""
    if not run.job.plan.wait_at_gates and not await _is_decided(run, consensus_id):
        return await run.suspend(consensus_id)
    decided: ConsensusCheckpoint | None = None
    with (
        run.control.interruptible(),
        run.job.meter.waiting_for_a_person(run.run_id),
    ):
        decided = await _decided(run, consensus_id)
    if decided is not None:
        await run.record(_resolution(decided), durable=True)
    return None


async def unchanged(run: RunDriver, calls: tuple[ToolCallPart, ...]) -> tuple[ToolCallPart, ...]:
    """Return those of `calls` that may be made; approved ones that were changed since are refused.

    What was approved stands in the database, what would be made in the history: a call whose
    arguments are not exactly those that people saw is answered instead of made. A stop ends the
    wait for a locked database: then none may be made now.
    """
    approved: dict[ToolCallId, str] | None = None
    with run.control.interruptible():
        approved = await _approved_digests(run, calls)
    if approved is None:
        return ()
    kept: list[ToolCallPart] = []
    for call in calls:
        digest = approved.get(call.tool_call_id)
        if digest is None or digest == _digest(run, call):
            kept.append(call)
            continue
        why = f"Refused: this is not the call of {call.tool_name} that was approved; it was changed"
        changed = result(run, call, f"{why} since. Nothing was done.", is_error=True)
        await run.record(ToolReturned(result=changed), durable=True)
    return tuple(kept)


async def withdraw(run: RunDriver, why: str = "the job reached one of its limits") -> None:
    """Close what the run waits at, as far as that is possible in bounded time."""
    gates = {run.state.approvals[call].consensus_id for call in run.state.waiting_approval}
    for consensus_id in gates:
        with anyio.move_on_after(_WITHDRAW_S, shield=True), suppress(PerstackError):
            await run.job.deps.gate.withdraw(consensus_id, why)


async def _approved_digests(
    run: RunDriver, calls: tuple[ToolCallPart, ...]
) -> dict[ToolCallId, str]:
    """Return the digests of those calls that were approved, as far as they can be told."""
    approvals = [run.state.approvals.get(call.tool_call_id) for call in calls]
    gates = {one.consensus_id for one in approvals if one is not None and one.standing_id is None}
    found = await _standing_digests(run, calls)
    for consensus_id in gates:
        checkpoint = await _seen(run, consensus_id)
        for task in checkpoint.proposed_subtasks if checkpoint else ():
            if task.digest is not None:
                found[task.tool_call_id] = task.digest
    return found


async def _standing_digests(
    run: RunDriver, calls: tuple[ToolCallPart, ...]
) -> dict[ToolCallId, str]:
    """Return the digests of what standing approvals let pass, "" for what is not that any more."""
    passed: dict[StandingId, list[ToolCallPart]] = {}
    for call in calls:
        approval = run.state.approvals.get(call.tool_call_id)
        if approval is not None and approval.standing_id is not None:
            passed.setdefault(approval.standing_id, []).append(call)
    given = await _standing(run) if passed else ()
    return {
        call.tool_call_id: _digest(run, call) if one.covers(_exactly(run, call)) else ""
        for one in given
        for call in passed.get(one.id, ())
    }


async def _seen(run: RunDriver, consensus_id: ConsensusId) -> ConsensusCheckpoint | None:
    """Return a checkpoint, None when its database is gone: a recorded decision stays taken."""
    while True:
        try:
            return await run.job.deps.gate.show(consensus_id)
        except NotFoundError:
            return None
        except LockedError:
            await anyio.sleep(_LOCKED_S)


async def _decided(run: RunDriver, consensus_id: ConsensusId) -> ConsensusCheckpoint:
    gate = run.job.deps.gate
    try:
        return await gate.wait(consensus_id)
    except NotFoundError:
        waiting = frozenset(run.state.waiting_approval)
        calls = tuple(call for call in run.state.pending_calls if call.tool_call_id in waiting)
        await gate.propose(_checkpoint(run, calls, consensus_id))
        return await gate.wait(consensus_id)


async def _is_decided(run: RunDriver, consensus_id: ConsensusId) -> bool:
    try:
        found = await run.job.deps.gate.show(consensus_id)
    except NotFoundError:
        return False
    overdue = found.expires_at is not None and found.expires_at <= run.job.deps.clock.now_ms()
    return found.status != "pending" or overdue


def _resolution(checkpoint: ConsensusCheckpoint) -> ResolveApproval:
    decision = checkpoint.decision
    approved: list[ToolCallId] = []
    rejected: list[ToolCallId] = []
    for task in checkpoint.proposed_subtasks:
        kept = (
            checkpoint.status == "approved"
            and decision is not None
            and task.id not in decision.rejected_subtask_ids
        )
        (approved if kept else rejected).append(task.tool_call_id)
    return ResolveApproval(
        consensus_id=checkpoint.id,
        outcome="expired" if checkpoint.status == "pending" else checkpoint.status,
        approved=tuple(approved),
        rejected=tuple(rejected),
        feedback=decision.feedback if decision else None,
        decided_by=decision.reviewed_by if decision else None,
    )


def _checkpoint(
    run: RunDriver, calls: tuple[ToolCallPart, ...], consensus_id: ConsensusId
) -> ConsensusCheckpoint:
    rules = run.job.plan.settings.consensus
    tasks = tuple(_subtask(run, call, number) for number, call in enumerate(calls, start=1))
    risk = highest([task.estimated_risk_level for task in tasks])
    tools = [_is_tool(run, call) for call in calls]
    reason = why_required(risk, run.depth + 1, rules) if not all(tools) else None
    return checkpoint_of(
        run,
        consensus_id,
        tasks,
        reason=reason or _reason(run, calls[0]),
        # What waits for a person is decided by none but a person, whatever stands beside it.
        strategy="human" if any(tools) else rules.reviewer_strategy,
    )


def _reason(run: RunDriver, call: ToolCallPart) -> str:
    if run.program is not None:
        return f"{run.program.name} asks before it does this"
    return "this tool always waits for a person (requireApproval)"


def checkpoint_of(
    run: RunDriver,
    consensus_id: ConsensusId,
    tasks: tuple[ProposedSubtask, ...],
    *,
    reason: str,
    strategy: ReviewerStrategy,
) -> ConsensusCheckpoint:
    """Return a checkpoint of the run, as risky as the riskiest of `tasks`, that expires in time."""
    now_ms = run.job.deps.clock.now_ms()
    parent = run.state.delegated_by
    return ConsensusCheckpoint(
        id=consensus_id,
        job_id=run.job.job_id,
        run_id=run.run_id,
        expert_key=run.expert.key,
        task_id=run.run_id,
        parent_task_id=parent.run_id if parent else None,
        depth=run.depth + 1,
        reason=reason,
        proposed_subtasks=tasks,
        risk_level=highest([task.estimated_risk_level for task in tasks]),
        reviewer_strategy=strategy,
        created_at=now_ms,
        expires_at=now_ms + run.job.plan.settings.consensus.timeout,
    )


def _subtask(run: RunDriver, call: ToolCallPart, number: int) -> ProposedSubtask:
    return ProposedSubtask(
        id=SubtaskId(f"s{number}"),
        agent_type=_target(run, call),
        input=run.job.deps.redact(_text_of(run, call)),
        estimated_risk_level=_risk(run, call),
        tool_call_id=call.tool_call_id,
        tool_name=call.tool_name,
        digest=_digest(run, call),
        skill_digest=_skill_digest(run, call) if _is_tool(run, call) else None,
    )


def _text_of(run: RunDriver, call: ToolCallPart) -> str:
    tool = _is_tool(run, call)
    return json.dumps(call.args, ensure_ascii=False) if tool else query_of(call) or ""


def _risk(run: RunDriver, call: ToolCallPart) -> RiskLevel:
    """Return the risk; a tool that somebody marked for approval is never less than a medium one."""
    rules = run.job.plan.settings.consensus
    risk = estimate_risk(_target(run, call), _text_of(run, call), rules)
    return highest(["medium", risk]) if _is_tool(run, call) else risk


def _digest(run: RunDriver, call: ToolCallPart) -> str:
    return call_digest(_target(run, call), call.tool_name, call.args)


def _exactly(run: RunDriver, call: ToolCallPart) -> ExactCall:
    return ExactCall(
        expert_key=run.expert.key,
        skill_name=_target(run, call),
        skill_digest=_skill_digest(run, call),
        tool_name=call.tool_name,
        arguments=canonical(call.args),
    )


def _skill_digest(run: RunDriver, call: ToolCallPart) -> str:
    skill = run.expert.skills.get(_target(run, call))
    return definition_digest(skill, run.job.plan.settings)


def _target(run: RunDriver, call: ToolCallPart) -> str:
    return run.state.routes[call.tool_call_id].skill_name.removeprefix("delegate/")


def _is_tool(run: RunDriver, call: ToolCallPart) -> bool:
    return run.state.routes[call.tool_call_id].kind == "mcp"

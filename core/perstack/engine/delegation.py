"""Delegations of one response: all at once, each a run of its own, the parent waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from perstack.domain.events import (
    CallDelegate,
    DelegateTo,
    StartRun,
    StopRunByDelegate,
    ToolReturned,
)
from perstack.domain.expert import ref
from perstack.domain.ids import CheckpointId, ToolCallId
from perstack.domain.jobs import DelegatedBy
from perstack.domain.messages import ToolCallPart
from perstack.engine.calls import result
from perstack.engine.plan import RunOutcome
from perstack.engine.toolset import query_of

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver

_WHY_UNFINISHED: Final = {
    "limit": "the job's step limit was reached",
    "asked": "a delegated Expert cannot ask the user",
    "failed": "the run failed",
}


async def begin(run: RunDriver, calls: tuple[ToolCallPart, ...]) -> None:
    """Record the delegations; `go_on` runs them."""
    children: list[DelegateTo] = []
    for call in calls:
        expert = run.job.plan.experts.get(run.toolset.delegates[call.tool_name])
        deepest = run.job.plan.settings.max_depth
        if expert is None or run.depth >= deepest:
            why = f"too deep: maxDepth is {deepest}, so do this yourself or give it up"
            why = why if expert else f"Expert {call.tool_name} not found"
            failed = result(run, call, f"Delegation failed: {why}", is_error=True)
            await run.record(ToolReturned(result=failed))
            continue
        children.append(
            DelegateTo(
                run_id=run.job.new_run_id(),
                expert=ref(expert),
                tool_call_id=call.tool_call_id,
                tool_name=call.tool_name,
                query=query_of(call) or "",
            )
        )
    if not children:
        return
    await run.record(CallDelegate(tool_call_ids=tuple(child.tool_call_id for child in children)))
    await run.record(
        StopRunByDelegate(checkpoint_id=run.checkpoint_id(), delegate_to=tuple(children)),
        durable=True,
    )


async def go_on(run: RunDriver, children: tuple[DelegateTo, ...]) -> RunOutcome | None:
    """Drive the children to their ends, then take the parent up again as the same run."""
    endings: dict[ToolCallId, RunOutcome] = {}
    parent_checkpoint = run.state.checkpoint_id or run.checkpoint_id()

    async def one(child: DelegateTo) -> None:
        by = DelegatedBy(
            run_id=run.run_id,
            expert_key=run.expert.key,
            tool_call_id=child.tool_call_id,
            tool_name=child.tool_name,
            checkpoint_id=parent_checkpoint,
        )
        ending = await run.job.drive_child(child, by, run)
        endings[child.tool_call_id] = ending
        await _record_ending(run, child, ending)

    async with run.job.yielded_slot(), anyio.create_task_group() as group:
        for child in children:
            group.start_soon(one, child, name=f"delegate:{child.expert.key}")

    waiting = [ending for ending in endings.values() if ending.ending == "awaiting"]
    if waiting or any(ending.ending == "stopped" for ending in endings.values()):
        return await run.suspend(waiting[0].consensus_id if waiting else None)
    await _resume(run)
    return None


async def _record_ending(run: RunDriver, child: DelegateTo, ending: RunOutcome) -> None:
    call = next(call for call in run.state.calls if call.tool_call_id == child.tool_call_id)
    match ending.ending:
        case "completed":
            await run.record(ToolReturned(result=result(run, call, ending.text)))
        case "failed" | "limit" | "asked":
            unfinished = str(ending.overrun or _WHY_UNFINISHED[ending.ending])
            why = ending.error.message if ending.error else unfinished
            text = f"Delegation failed: {why}"
            await run.record(ToolReturned(result=result(run, call, text, is_error=True)))
        case "stopped" | "awaiting":
            pass


async def _resume(run: RunDriver) -> None:
    run.step = run.job.take_step()
    await run.record(
        StartRun(
            checkpoint_id=CheckpointId(run.job.deps.ids.new()),
            status="stoppedByDelegate",
            expert=ref(run.expert),
            input_messages=(),
        )
    )
    await run.announce_pending()

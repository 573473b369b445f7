"""Delegations of one response: all at once, each a run of its own, the parent waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import anyio
from anyio.abc import TaskGroup

from perstack.domain.events import (
    CallDelegate,
    DelegateTo,
    StartRun,
    StopRunByDelegate,
    ToolReturned,
)
from perstack.domain.expert import ref
from perstack.domain.ids import CheckpointId, RunId, ToolCallId
from perstack.domain.jobs import DelegatedBy
from perstack.domain.messages import ToolCallPart
from perstack.domain.steering_events import RetryDelegate
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
        key = run.toolset.delegates[call.tool_name]
        expert = run.job.plan.experts.get(key)
        deepest = run.job.plan.settings.max_depth
        if expert is None or run.depth >= deepest:
            why = f"too deep: maxDepth is {deepest}, so do this yourself or give it up"
            why = why if expert else f"Expert {key} not found: the job was begun without it"
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


class Batch:
    """The delegations of a run that work now; one that failed can join them once more."""

    def __init__(
        self, run: RunDriver, group: TaskGroup, endings: dict[ToolCallId, RunOutcome]
    ) -> None:
        """Begin delegations in `group`; `endings` gets how each of them ended."""
        self._run = run
        self._group = group
        self._endings = endings
        self._from = run.state.checkpoint_id or run.checkpoint_id()
        self._working = 0

    @property
    def is_open(self) -> bool:
        """Whether any of them still works, so that the parent has read none of their results."""
        return self._working > 0

    def begin(self, child: DelegateTo) -> None:
        """Drive a child to its end beside the others."""
        self._working += 1
        self._group.start_soon(self._drive, child, name=f"delegate:{child.expert.key}")

    async def _drive(self, child: DelegateTo) -> None:
        run = self._run
        by = DelegatedBy(
            run_id=run.run_id,
            expert_key=run.expert.key,
            tool_call_id=child.tool_call_id,
            tool_name=child.tool_name,
            checkpoint_id=self._from,
        )
        try:
            ending = await run.job.drive_child(child, by, run)
            self._endings[child.tool_call_id] = ending
            await _record_ending(run, child, ending)
        finally:
            self._working -= 1


async def go_on(run: RunDriver, children: tuple[DelegateTo, ...]) -> RunOutcome | None:
    """Drive the children to their ends, then take the parent up again as the same run."""
    endings: dict[ToolCallId, RunOutcome] = {}
    async with run.job.slots.yielded(), anyio.create_task_group() as group:
        run.batch = Batch(run, group, endings)
        for child in children:
            run.batch.begin(child)
    run.batch = None
    waiting = [ending for ending in endings.values() if ending.ending == "awaiting"]
    if waiting or any(ending.ending == "stopped" for ending in endings.values()):
        return await run.suspend(waiting[0].consensus_id if waiting else None)
    await _resume(run)
    return None


def retry(run: RunDriver, failed: RunId, by: str) -> Literal["begun", "at work", "closed"]:
    """Do a delegation that failed again, if the others of its batch still work."""
    batch = run.batch
    child = next((one for one in run.state.delegate_to if one.run_id == failed), None)
    if batch is None or child is None or not batch.is_open or run.control.stopping:
        return "closed"
    ended = run.state.results.get(child.tool_call_id)
    if ended is None or not ended.is_error:
        return "at work"
    again = child.model_copy(update={"run_id": run.job.new_run_id()})
    run.tell(
        RetryDelegate(by=by, tool_call_id=child.tool_call_id, before=failed, run_id=again.run_id)
    )
    batch.begin(again)
    return "begun"


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

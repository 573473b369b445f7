"""The calls of one response: answering those that cannot be made, making those that can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import anyio

from perstack.domain.events import AttemptCompletion, ToolResult, ToolReturned
from perstack.domain.expert import BASE_SKILL
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ResourceLinkPart, ResultPart, TextPart, ToolCallPart
from perstack.engine.machine import Declare, TryCompletion, in_doubt, refusal
from perstack.ports.skills import ToolOutcome

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver

CALLS_AT_ONCE: Final = 16
# These change what the run knows, and no file.
_OF_THE_RUN_ALONE: Final = frozenset({"think", "todo", "clearTodo", "attemptCompletion"})


async def refuse(run: RunDriver, calls: tuple[ToolCallPart, ...]) -> None:
    """Answer calls that must not be made."""
    for call in calls:
        why = refusal(run.state, call) or "This call cannot be made."
        await run.record(ToolReturned(result=result(run, call, why, is_error=True)))


async def call_skills(run: RunDriver, calls: tuple[ToolCallPart, ...]) -> None:
    """Make calls in parallel; those that a stop cuts off are in doubt, those not begun wait."""
    limiter = anyio.CapacityLimiter(CALLS_AT_ONCE)
    begun: set[ToolCallId] = set()

    async def one(call: ToolCallPart) -> None:
        async with limiter:
            if run.control.stopping:
                return
            begun.add(call.tool_call_id)
            outcome = await _made(run, call)
        await run.record(ToolReturned(result=result_of(run, call, outcome)))

    if writing := [call.tool_call_id for call in calls if _may_write(run, call)]:
        with run.control.interruptible():
            await run.job.files.before_writing(writing)
    with run.control.finishing() as scope:
        async with anyio.create_task_group() as group:
            for call in calls:
                group.start_soon(one, call, name=f"tool:{call.tool_name}")
    if scope.cancelled_caught:
        for call in in_doubt(run.state):
            if call.tool_call_id in begun:
                await run.record(ToolReturned(result=doubtful(run, call, "was stopped")))


def _may_write(run: RunDriver, call: ToolCallPart) -> bool:
    """Tell whether a call may change files of the workspace."""
    route = run.state.routes.get(call.tool_call_id)
    if route is None or route.repeatable:
        return False
    return not (route.skill_name == BASE_SKILL and call.tool_name in _OF_THE_RUN_ALONE)


async def complete(run: RunDriver, effect: TryCompletion | Declare) -> None:
    """Ask the base skill whether the Expert may be done, or take its word once it may."""
    call = effect.call
    if isinstance(effect, Declare):
        await run.record(AttemptCompletion(tool_call_id=call.tool_call_id))
        return
    # It changes nothing: when a stop cuts it off, it is simply asked again.
    with run.control.finishing():
        outcome = await _made(run, call)
        await run.record(ToolReturned(result=result_of(run, call, outcome)))


async def _made(run: RunDriver, call: ToolCallPart) -> ToolOutcome:
    """Make the call; meanwhile its server may ask something of the run."""
    run.calling.add(call.tool_call_id)
    try:
        return await run.toolset.skills.call(
            call.tool_name, call.args, tool_call_id=call.tool_call_id
        )
    finally:
        run.calling.discard(call.tool_call_id)


def result(run: RunDriver, call: ToolCallPart, text: str, *, is_error: bool = False) -> ToolResult:
    """Return a result of one text for `call`."""
    return result_of(run, call, ToolOutcome((TextPart(text=text),), is_error))


def doubtful(
    run: RunDriver, call: ToolCallPart, what: Literal["ended", "was stopped"]
) -> ToolResult:
    """Return the result of a call that may have taken effect or not."""
    text = (
        f"In doubt: the program {what} while {call.tool_name} was running, so it may have taken"
        " effect or not. Check before you do it again."
    )
    found = result(run, call, text, is_error=True)
    return found.model_copy(update={"in_doubt": True})


def result_of(run: RunDriver, call: ToolCallPart, outcome: ToolOutcome) -> ToolResult:
    """Return what a call gave, without secrets."""
    route = run.state.routes.get(call.tool_call_id)
    return ToolResult(
        id=call.tool_call_id,
        skill_name=route.skill_name if route else "",
        tool_name=call.tool_name,
        result=tuple(_without_secrets(run, part) for part in outcome.parts),
        is_error=outcome.is_error or None,
    )


def _without_secrets(run: RunDriver, part: ResultPart) -> ResultPart:
    # A tool may well read the user's .env; neither history nor model need what is in it.
    redact = run.job.deps.redact
    match part:
        case TextPart(text=text):
            clean = redact(text)
            return part if clean == text else TextPart(text=clean)
        case ResourceLinkPart():
            said = part.model_dump(include={"uri", "name", "description"}, exclude_none=True)
            return part.model_copy(update={key: redact(text) for key, text in said.items()})
        case _:
            return part

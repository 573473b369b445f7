"""Events of a run, numbered and timed by hand."""

from __future__ import annotations

from perstack.domain.events import (
    Body,
    CallTools,
    CompleteRun,
    DelegateTo,
    Event,
    StartGeneration,
    StopRunByDelegate,
    ToolResult,
    ToolReturned,
)
from perstack.domain.expert import BASE_SKILL, ExpertRef
from perstack.domain.ids import CheckpointId, ExpertKey, JobId, MessageId, RunId, ToolCallId
from perstack.domain.messages import ExpertMessage, TextPart
from perstack.domain.steering_events import ResumeRun
from perstack.domain.usage import Usage
from tests.fakes.consensus import NOW_MS


def make_event(body: Body, seq: int = 0, *, at: int = NOW_MS, run: str = "run1") -> Event:
    return Event(
        seq=seq,
        timestamp=at,
        job_id=JobId("job1"),
        run_id=RunId(run),
        expert_key=ExpertKey("expert"),
        step_number=1,
        body=body,
    )


def tokens(total: int) -> Usage:
    return Usage(input_tokens=total, total_tokens=total)


def tool_returned(
    tool: str, *, skill: str = BASE_SKILL, is_error: bool | None = None
) -> ToolReturned:
    result = ToolResult(
        id=ToolCallId("call"),
        skill_name=skill,
        tool_name=tool,
        result=(TextPart(text="done"),),
        is_error=is_error,
    )
    return ToolReturned(result=result)


def delegated(count: int) -> StopRunByDelegate:
    children = tuple(
        DelegateTo(
            run_id=RunId(f"child{n}"),
            expert=ExpertRef(key=ExpertKey("child"), name="child", version="1.0.0"),
            tool_call_id=ToolCallId(f"call{n}"),
            tool_name="child",
            query="do it",
        )
        for n in range(count)
    )
    return StopRunByDelegate(checkpoint_id=CheckpointId("c"), delegate_to=children)


def called_tools(total: int) -> CallTools:
    said = ExpertMessage(id=MessageId("m"), contents=(TextPart(text="hm"),))
    return CallTools(new_message=said, routes=(), usage=tokens(total))


def completed(total: int = 0) -> CompleteRun:
    return CompleteRun(checkpoint_id=CheckpointId("c"), usage=tokens(total))


def generation() -> StartGeneration:
    return StartGeneration()


def resumed_by(who: str = "ana") -> ResumeRun:
    return ResumeRun(by=who)

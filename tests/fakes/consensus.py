"""Consensus checkpoints to test with, and a clock that is set by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import anyio
from pydantic import JsonValue

from perstack.domain.consensus import (
    ConsensusCheckpoint,
    Decision,
    InputRequest,
    ProposedSubtask,
)
from perstack.domain.forms import form_of
from perstack.domain.ids import (
    ConsensusId,
    ExpertKey,
    JobId,
    RunId,
    SessionId,
    SubtaskId,
    ToolCallId,
)
from perstack.domain.inputs import form_lines

NOW_MS = 1_790_000_000_000


async def until(condition: Callable[[], bool], *, within_s: float = 15.0) -> None:
    """Return once `condition` holds.

    Raises:
        AssertionError: it did not, in time.
    """
    deadline = anyio.current_time() + within_s
    for _ in count():
        if condition():
            return
        assert anyio.current_time() < deadline, "waited in vain"
        await anyio.sleep(0.005)


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def move(self, by_ms: int) -> None:
        self._now_ms += by_ms


def make_subtask(name: str = "s1", text: str = "deploy the docs to production") -> ProposedSubtask:
    return ProposedSubtask(
        id=SubtaskId(name),
        agent_type="devops",
        input=text,
        estimated_risk_level="high",
        tool_call_id=ToolCallId(f"call-{name}"),
        tool_name="devops",
    )


def make_checkpoint(
    name: str = "k1",
    *,
    subtasks: int = 1,
    run: str = "run1",
    created_at: int = NOW_MS,
    expires_at: int | None = None,
    text: str = "deploy the docs to production",
) -> ConsensusCheckpoint:
    return ConsensusCheckpoint(
        id=ConsensusId(name),
        job_id=JobId("job1"),
        run_id=RunId(run),
        expert_key=ExpertKey("release-captain"),
        task_id=run,
        depth=1,
        reason="Risk level 'high' at depth 1 requires consensus",
        proposed_subtasks=tuple(make_subtask(f"s{n}", text) for n in range(1, subtasks + 1)),
        risk_level="high",
        created_at=created_at,
        expires_at=expires_at,
    )


def make_proposal(
    name: str = "k1", *, subtasks: int = 2, parent: str | None = "p1", expires_at: int | None = None
) -> ConsensusCheckpoint:
    """Tasks that no run waits with."""
    asked = make_checkpoint(name, subtasks=subtasks, expires_at=expires_at)
    tasks = tuple(
        task.model_copy(
            update={
                "id": SubtaskId(f"{name}-{task.id}"),
                "tool_call_id": "",
                "tool_name": "",
                "parent_task_id": parent,
            }
        )
        for task in asked.proposed_subtasks
    )
    return asked.model_copy(
        update={
            "job_id": None,
            "run_id": None,
            "session_id": SessionId("session1"),
            "task_id": tasks[0].id,
            "parent_task_id": parent,
            "proposed_subtasks": tasks,
        }
    )


def make_question(
    name: str = "k1",
    *,
    schema: dict[str, JsonValue] | None = None,
    message: str = "Which region?",
    expires_at: int | None = None,
    created_at: int = NOW_MS,
) -> ConsensusCheckpoint:
    """A tool server's question; without a `schema`, which region and how many machines."""
    region: dict[str, JsonValue] = {"type": "string", "enum": ["eu", "us"], "title": "Region"}
    default: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"region": region, "machines": {"type": "integer", "minimum": 1}},
        "required": ["region"],
    }
    form = form_of(schema or default)
    assert form is not None
    task = ProposedSubtask(
        id=SubtaskId("s1"),
        agent_type="cloud",
        input="\n".join([message, "", *form_lines(form)]),
        estimated_risk_level="low",
        tool_call_id=ToolCallId("call-1"),
        tool_name="elicitation",
        input_request=InputRequest(kind="elicitation", skill_name="cloud", answer_schema=form),
    )
    asked = make_checkpoint(name, expires_at=expires_at, created_at=created_at)
    return asked.model_copy(
        update={
            "proposed_subtasks": (task,),
            "risk_level": "low",
            "reason": "the tool server of skill cloud asks a question",
        }
    )


def make_decision(
    *, approved: bool = True, by: str = "ana", rejected: tuple[str, ...] = ()
) -> Decision:
    return Decision(
        approved=approved,
        rejected_subtask_ids=tuple(SubtaskId(one) for one in rejected),
        reviewed_by=by,
    )

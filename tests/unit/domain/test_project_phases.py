"""Random walks through the phases of a project's task and the states of a specification."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.projects import (
    PHASES,
    TRANSITIONS,
    Phase,
    ProjectId,
    ProjectTask,
    ProjectTaskId,
    moved,
)
from perstack.domain.specifications import (
    Comment,
    Specification,
    SpecificationId,
    approved,
    commented,
    edited,
    rejected,
    submitted,
)
from perstack.errors import ConflictError

TASK = ProjectTask(
    id=ProjectTaskId("t"), project_id=ProjectId("p"), title="t", created_at=0, updated_at=0
)
SPECIFICATION = Specification(
    id=SpecificationId("s"),
    project_task_id=TASK.id,
    type="api",
    title="t",
    content="0",
    created_by="ana",
    created_at=0,
    updated_at=0,
)
SAID = Comment(id="c", author="bo", content="no", created_at=0)
LEGAL = {
    "edit": {"draft": "draft", "pending_review": "draft", "rejected": "rejected"},
    "submit": {"draft": "pending_review", "rejected": "pending_review"},
    "approve": {"pending_review": "approved"},
    "reject": {"pending_review": "rejected"},
    "comment": {name: name for name in ("draft", "pending_review", "approved", "rejected")},
}


def verbs(now: int) -> dict[str, Callable[[Specification], Specification]]:
    """What can be done to a specification at a time."""
    return {
        "edit": lambda one: edited(one, {"content": str(now)}, now_ms=now),
        "submit": lambda one: submitted(one, now_ms=now),
        "approve": lambda one: approved(one, by="bo", comments=(), version=None, now_ms=now),
        "reject": lambda one: rejected(one, by="bo", comments=[SAID], version=None, now_ms=now),
        "comment": lambda one: commented(one, SAID, now_ms=now),
    }


@given(st.lists(st.sampled_from(PHASES), max_size=12))
def test_a_task_only_ever_goes_where_its_phase_leads(wanted: list[Phase]) -> None:
    task, said = TASK, [""]
    for now, phase in enumerate(wanted, 1):
        before = task
        try:
            task = moved(task, phase, now_ms=now)
        except ConflictError as error:
            assert phase not in TRANSITIONS[before.phase]
            said.append(error.message)
            legal = ", ".join(TRANSITIONS[before.phase]) or "none"
            assert said[-1].endswith(f" from {before.phase} to {phase}. Allowed: {legal}")
            continue
        assert phase in TRANSITIONS[before.phase]
        assert task.updated_at == now
        assert (task.completed_at is not None) == (phase in ("completed", "cancelled"))


@given(st.lists(st.sampled_from(sorted(LEGAL)), max_size=15))
def test_a_specification_keeps_to_its_states_and_an_approved_text_never_changes(
    wanted: list[str],
) -> None:
    found = SPECIFICATION
    edits = 0
    for now, verb in enumerate(wanted, 1):
        before = found
        after = LEGAL[verb].get(before.status)
        try:
            found = verbs(now)[verb](before)
        except ConflictError:
            assert after is None
            continue
        assert found.status == after
        edits += verb == "edit"
        assert found.version == 1 + edits
        if before.status == "approved":
            assert (found.content, found.version) == (before.content, before.version)

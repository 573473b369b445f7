"""What waits with no run behind it, and what a reviewing Expert said, as the cockpit shows it."""

from __future__ import annotations

from perstack.domain.consensus import ConsensusCheckpoint, Review, Verdict
from perstack.domain.ids import ExpertKey, SubtaskId
from perstack.projection.views import InboxView, WorkspaceView
from perstack_tui.state.cockpit import CockpitState
from perstack_tui.state.inbox import inbox_lines, items_of
from perstack_tui.state.lines import Line
from perstack_tui.state.review import Review as Reviewing
from perstack_tui.state.review_lines import detail_lines, review_lines
from tests.fakes.consensus import make_proposal
from tests.fakes.gateway import NOW, gate, running_view


def text_of(line: Line) -> str:
    return "".join(text for text, _ in (*line.left, *line.right))


def said(verdict: Verdict | None, error: str | None = None) -> Review:
    return Review(
        reviewer=ExpertKey("adversarial"),
        verdict=verdict,
        error=error,
        structured=True,
        started_at=NOW,
        finished_at=NOW,
    )


def shown(checkpoint: ConsensusCheckpoint, width: int = 60) -> list[str]:
    review = Reviewing(checkpoint)
    lines = (*review_lines(review, width, NOW), *detail_lines(review, width))
    return [text_of(line) for line in lines]


def test_a_task_that_no_run_waits_with_stands_in_the_inbox_and_selects_no_run() -> None:
    proposal = make_proposal(subtasks=1)
    state = CockpitState()
    state.take(
        WorkspaceView(jobs=running_view().jobs, inbox=InboxView(pending=(proposal,))),
        hold_inbox=False,
    )
    before = state.run_id
    (item,) = items_of(InboxView(pending=(proposal,)))
    state.select_item(item.key)
    assert (item.run_id, state.run_id) == (None, before)
    lines = [text_of(line) for line in inbox_lines([item], 60, NOW)]
    assert any("deploy the docs to production" in line for line in lines)
    assert not any(" job " in line for line in shown(proposal))


def test_approving_it_is_said_to_make_the_tasks() -> None:
    review = Reviewing(make_proposal(subtasks=2))
    review.reading.read |= {SubtaskId("k1-s1"), SubtaskId("k1-s2")}
    review.confirmed = review.kept_high
    assert "the tasks are made" in text_of(review.consequence(""))
    review.dropped.add(SubtaskId("k1-s1"))
    assert "the task is made" in text_of(review.consequence(""))


def test_a_recommendation_is_shown_whole_and_inert() -> None:
    verdict = Verdict(
        approved=True,
        rejected_subtask_ids=(SubtaskId("s2"),),
        feedback="fine \x1b[2J " + "but look again at what it writes " * 4,
        risk_assessment="medium",
    )
    lines = shown(gate().model_copy(update={"review": said(verdict)}))
    told = " ".join(" ".join(lines).split())
    assert "reviewer adversarial would approve without s2, risk medium: fine" in told
    assert told.count("but look again at what it writes") == 4
    assert "\x1b" not in told


def test_a_review_that_failed_says_why() -> None:
    lines = shown(gate().model_copy(update={"review": said(None, "the vendor is down")}))
    told = " ".join(" ".join(lines).split())
    assert "reviewer adversarial could not judge it: the vendor is down" in told

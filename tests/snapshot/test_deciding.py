"""What deciding and answering look like, with the clock standing still."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

import pytest
from textual.pilot import Pilot

from perstack.domain.consensus import ConsensusCheckpoint, Review, Verdict
from perstack.domain.ids import ExpertKey, RunId, SubtaskId
from perstack.projection.views import InboxView, QuestionView
from perstack_tui.app import Cockpit
from perstack_tui.state.inbox import ItemKey
from tests.fakes.gateway import (
    NOW,
    busy_view,
    decided,
    definitions,
    gate,
    question,
    subtask,
    tool_subtask,
)
from tests.fakes.stage import Stage

SIZES = [(80, 24), (120, 40)]


class Compare(Protocol):
    """`snap_compare`, typed."""

    def __call__(
        self,
        app: Cockpit,
        *,
        terminal_size: tuple[int, int],
        run_before: Callable[[Pilot[int]], Awaitable[None]],
    ) -> bool: ...


def same(
    compare: Compare,
    stage: Stage,
    size: tuple[int, int],
    *keys: str,
    then: Callable[[Stage], Awaitable[None]] | None = None,
) -> bool:
    """Drive the cockpit to where it is to be looked at, and look."""

    async def before(pilot: Pilot[int]) -> None:
        await stage.join(pilot, definitions(), ("job-8f3a",))
        await stage.press(*keys)
        if then is not None:
            await then(stage)

    return compare(stage.app, terminal_size=size, run_before=before)


def release() -> ConsensusCheckpoint:
    """The checkpoint of the design: five subtasks, one of which a reviewer rejects."""
    purge = 'curl -X POST "$CDN/purge" -H "Authorization: Bearer ${CDN_TOKEN}" \\\n'
    tasks = (
        subtask("s1", "build docs site", "low", "shell"),
        subtask("s2", "link-check 412 pages", "low", "fetcher"),
        tool_subtask("s3", "writeTextFile", '{"path": "site/index.html", "text": "…"}'),
        subtask("s4", purge + '     -d \'{"zones":["*"]}\''),
        subtask("s5", "switch prod alias → build 8f3a"),
    )
    verdict = Verdict(
        approved=True,
        rejected_subtask_ids=(SubtaskId("s4"),),
        feedback="s4 is broader than the parent task. Suggest zone “docs”.",
    )
    review = Review(
        reviewer=ExpertKey("adversarial"),
        verdict=verdict,
        structured=True,
        started_at=NOW,
        finished_at=NOW,
    )
    return gate("gate-1", run_name="devops", subtasks=tasks).model_copy(update={"review": review})


def inbox(
    *pending: ConsensusCheckpoint,
    questions: tuple[QuestionView, ...] = (),
    over: tuple[ConsensusCheckpoint, ...] = (),
    theme: str = "dark",
) -> Stage:
    shown = InboxView(pending=pending, questions=questions, decided=over)
    return Stage(replace(busy_view(), inbox=shown), theme=theme)


async def partly(stage: Stage) -> None:
    await stage.press("j", "j", "j")


async def typing(stage: Stage) -> None:
    await stage.press("j", "j", "j", "j", "e")
    await stage.write("purge only the docs zone")
    await stage.press("escape", "a", "f")


@pytest.mark.parametrize("theme", ["dark", "light", "mono"])
def test_review_of_a_part(snap_compare: Compare, theme: str) -> None:
    stage = inbox(release(), theme=theme)
    assert same(snap_compare, stage, (120, 40), "4", "enter", then=partly)


@pytest.mark.parametrize("size", SIZES)
def test_word_is_typed_for_high_risk(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, inbox(release()), size, "4", "enter", then=typing)


def test_hidden_characters(snap_compare: Compare) -> None:
    text = "fetch \u202egnp.exe\u200b and\x1b[2J then \u2066swap\u2069"
    stage = inbox(gate("gate-1", subtasks=(subtask("s1", text, "medium"),)))
    assert same(snap_compare, stage, (80, 24), "4", "enter")


def test_decided_and_expired(snap_compare: Compare) -> None:
    gone = gate("gate-1", subtasks=(subtask("s1", "upload to staging", "medium"),))
    gone = gone.model_copy(
        update={"status": "expired", "decided_at": NOW, "run_id": RunId("run-devops")}
    )
    stage = inbox(over=(gone, decided("gate-0", "approved", "rename api dir")))
    assert same(snap_compare, stage, (80, 24), "4", "enter")


@pytest.mark.parametrize("size", SIZES)
def test_several_at_once(snap_compare: Compare, size: tuple[int, int]) -> None:
    gates = [
        gate(f"gate-{at}", subtasks=(subtask("s1", f"upload part {at}", "medium"),)).model_copy(
            update={"risk_level": "medium"}
        )
        for at in range(3)
    ]
    stage = inbox(*gates, gate("gate-9"))
    stage.app.state.marks |= {ItemKey("gate", f"gate-{at}") for at in (0, 1, 2, 9)}
    assert same(snap_compare, stage, size, "4", "a")


@pytest.mark.parametrize("size", SIZES)
def test_questions_with_choices(snap_compare: Compare, size: tuple[int, int]) -> None:
    later = (question("q2", "How long?", choices=(), run_name="writer", position=2, of=2),)
    asked = question(run_name="writer", job_name="job-8f3a", of=2).with_later(later)
    stage = inbox(questions=(replace(asked, several=True),))
    assert same(snap_compare, stage, size, "4", "enter", "1", "down", "space")

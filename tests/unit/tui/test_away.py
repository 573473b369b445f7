"""What is told to somebody who looks elsewhere."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from perstack.projection.views import InboxView, WorkspaceView
from perstack_tui.state.away import Happening, News, happened, title_of, working
from perstack_tui.state.cockpit import CockpitState
from tests.fakes.gateway import busy_view, running_view

GATE: dict[Hashable, Happening] = {"g": Happening("gate", "devops: deploy")}
DONE: dict[Hashable, Happening] = {"d": Happening("done", "writer completed")}


def state_of(view: WorkspaceView) -> CockpitState:
    state = CockpitState()
    state.take(view, hold_inbox=False)
    return state


def test_title_counts_what_matters_and_leaves_out_what_is_nothing() -> None:
    assert title_of(CockpitState(), "notes\x07") == "notes‹U+0007›"
    title = title_of(state_of(busy_view()), "notes")
    assert title.startswith("▲2 ●")
    assert title.endswith(" ✗1 notes")
    assert title_of(state_of(running_view()), "notes") == "●1 notes"


def test_work_is_what_runs() -> None:
    assert working(state_of(running_view()))
    assert not working(CockpitState())


def test_each_event_is_told_once_to_somebody_away() -> None:
    news = News()
    assert news.take({}, away=True) is None
    assert news.take(GATE, away=True) == "devops: deploy"
    assert news.take(GATE, away=True) is None


def test_nothing_is_told_to_somebody_who_looks_nor_later() -> None:
    news = News()
    news.take({}, away=False)
    assert news.take(GATE, away=False) is None
    assert news.take(GATE, away=True) is None


def test_the_past_is_no_news() -> None:
    news = News()
    assert news.take(None, away=True) is None
    assert news.take(GATE, away=True) is None
    assert news.take({**GATE, **DONE}, away=True) == "writer completed"


def test_several_at_once_are_counted() -> None:
    news = News()
    news.take({}, away=True)
    more: dict[Hashable, Happening] = {**GATE, **DONE, "e": DONE["d"]}
    assert news.take(more, away=True) == "1 approval waiting, 2 jobs completed"


def test_what_waits_and_what_ended_are_told_and_decisions_are_not() -> None:
    view = busy_view()
    found = happened(state_of(view))
    assert found is not None
    assert sorted(each.kind for each in found.values()) == ["gate", "question"]
    decided = happened(state_of(replace(view, inbox=InboxView(decided=view.inbox.pending))))
    assert decided == {}
    ended = replace(view, jobs=(replace(view.jobs[0], state="done"),), inbox=InboxView())
    told = happened(state_of(ended))
    assert told is not None
    assert [each.kind for each in told.values()] == ["done"]
    assert happened(state_of(replace(view, caught_up=False))) is None

"""Every pane at every size: one line, a list, tabs, desk and wall."""

from __future__ import annotations

import pytest

from perstack.projection.views import WorkspaceView
from tests.fakes.stage import Stage
from tests.fakes.wide import everything_view, siblings_job
from tests.snapshot.test_cockpit_screens import IDLE, Compare, same

WALL = (200, 60)


def stage(theme: str = "dark") -> Stage:
    return Stage(everything_view(), theme=theme)


@pytest.mark.parametrize("theme", ["dark", "light", "mono"])
def test_wall(snap_compare: Compare, theme: str) -> None:
    assert same(snap_compare, stage(theme), WALL, "4")


@pytest.mark.parametrize("key", ["2", "3"])
def test_each_pane_of_the_wall(snap_compare: Compare, key: str) -> None:
    assert same(snap_compare, stage(), WALL, key, "j", "j")


@pytest.mark.parametrize("key", ["2", "3", "6"])
def test_each_pane_of_the_desk(snap_compare: Compare, key: str) -> None:
    assert same(snap_compare, stage(), (120, 40), key, "j", "j")


@pytest.mark.parametrize("key", ["1", "2", "6"])
def test_each_tab(snap_compare: Compare, key: str) -> None:
    shown = stage("mono")
    assert same(snap_compare, shown, (80, 24), *("3", key))


@pytest.mark.parametrize("size", [(39, 7), (60, 10), (100, 20), (30, 1)])
def test_small_screens(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, stage(), size, "3")


def test_siblings_that_are_done_are_folded(snap_compare: Compare) -> None:
    shown = Stage(WorkspaceView((siblings_job(),), caught_up=True))
    assert same(snap_compare, shown, (120, 40), "j")


@pytest.mark.parametrize("key", ["plus", "plus plus"])
def test_zoomed(snap_compare: Compare, key: str) -> None:
    assert same(snap_compare, stage(), (120, 40), "3", *key.split())


def test_timeline_by_time(snap_compare: Compare) -> None:
    shown = stage()
    shown.app.state.time_axis = True
    assert same(snap_compare, shown, (120, 40), "2", "h", "h")


def test_wall_without_anything(snap_compare: Compare) -> None:
    assert same(snap_compare, Stage(IDLE), WALL, here=())

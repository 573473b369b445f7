"""Every theme over the same busy screen, ASCII borders, and the list of themes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perstack_tui.app import Cockpit
from perstack_tui.settings import Settings
from perstack_tui.theme import THEMES
from tests.fakes.gateway import busy_view
from tests.fakes.stage import Stage
from tests.snapshot.test_cockpit_screens import Compare, same

CHILD = ("j", "j", "j", "j")


@pytest.mark.parametrize("theme", THEMES)
def test_busy_screen_in_every_theme(snap_compare: Compare, theme: str) -> None:
    assert same(snap_compare, Stage(busy_view(), theme=theme), (120, 40), *CHILD)


def in_ascii() -> Stage:
    stage = Stage(busy_view())
    stage.app = Cockpit(replace(stage.app.opening, settings=Settings(borders="ascii")))
    return stage


def test_busy_screen_in_ascii(snap_compare: Compare) -> None:
    assert same(snap_compare, in_ascii(), (120, 40), *CHILD)


def test_review_in_ascii(snap_compare: Compare) -> None:
    assert same(snap_compare, in_ascii(), (80, 24), "4", "enter")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_list_of_themes(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, Stage(busy_view()), size, "ctrl+t", "j", "j", "j")

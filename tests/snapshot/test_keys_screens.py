"""Palette, help, jump labels, completion, menus and marks."""

from __future__ import annotations

import pytest

from tests.fakes.gateway import busy_view
from tests.fakes.stage import Stage
from tests.snapshot.test_cockpit_screens import SIZES, Compare, same


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["dark", "mono"])
def test_palette(snap_compare: Compare, size: tuple[int, int], theme: str) -> None:
    keys = ("ctrl+p", *"go wri")
    assert same(snap_compare, Stage(busy_view(), theme=theme), size, *_typed(keys))


def test_palette_before_anything_is_typed(snap_compare: Compare) -> None:
    assert same(snap_compare, Stage(busy_view()), (120, 40), "ctrl+p")


@pytest.mark.parametrize("size", SIZES)
def test_help_of_the_inbox(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, Stage(busy_view()), size, "4", "question_mark")


@pytest.mark.parametrize("size", SIZES)
def test_jump_labels(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, Stage(busy_view()), size, "3", "semicolon")


def test_completion_of_where_to_go(snap_compare: Compare) -> None:
    keys = ("colon", *"job ", "tab")
    assert same(snap_compare, Stage(busy_view()), (120, 40), *_typed(keys))


def test_marked_lines_of_a_filtered_and_sorted_table(snap_compare: Compare) -> None:
    keys = ("3", "slash", *"!done", "enter", "s", "t", "g", "space", "space", "s")
    assert same(snap_compare, Stage(busy_view(), theme="light"), (120, 40), *keys)


def _typed(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("space" if key == " " else key for key in keys)

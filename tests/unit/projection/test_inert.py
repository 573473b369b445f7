from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.projection.inert import has_hidden, inert

ACTING = {"Cc", "Cs", "Zl", "Zp"}
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=200)


@given(ANY_TEXT)
def test_nothing_that_a_terminal_acts_on_is_left(text: str) -> None:
    shown = inert(text)
    acting = [char for char in shown if unicodedata.category(char) in ACTING and char != "\n"]
    assert acting == []
    assert not any(unicodedata.bidirectional(char) in BIDI for char in shown)
    shown.encode("utf-8")


BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(ANY_TEXT)
def test_one_line_form_has_no_line_break(text: str) -> None:
    assert len(inert(text, newlines=False).splitlines()) <= 1


@given(ANY_TEXT)
def test_inert_text_stays_as_it_is(text: str) -> None:
    assert inert(inert(text)) == inert(text)


@given(ANY_TEXT)
def test_hidden_characters_are_those_that_are_shown_by_number(text: str) -> None:
    assert has_hidden(text) == ("‹U+" in inert(text.replace("‹", "")))


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"])))
def test_visible_text_is_not_changed(text: str) -> None:
    if not has_hidden(text):
        assert inert(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]52;c;aGk=\x07", "‹U+001B›]52;c;aGk=‹U+0007›"),
        ("\x9b31m", "‹U+009B›31m"),
        ("a\u202eb", "a‹U+202E›b"),
        ("a\u200bb", "a‹U+200B›b"),
        ("\ud800", "‹U+D800›"),
        ("a\ufe0f", "a‹U+FE0F›"),
        ("\U000e0041", "‹U+E0041›"),
        ("a\tb", "a    b"),
        ("a\r\nb", "a\nb"),
        ("a\rb", "a‹U+000D›b"),
        ("a\u2028b", "a‹U+2028›b"),
        ("naïve 漢字 — ok", "naïve 漢字 — ok"),
    ],
)
def test_each_kind_is_shown(text: str, shown: str) -> None:
    assert inert(text) == shown


def test_newlines_can_be_shown_as_a_sign() -> None:
    assert inert("a\nb\r\nc", newlines=False) == "a⏎b⏎c"


def test_tabs_and_newlines_are_not_hidden() -> None:
    assert not has_hidden("a\tb\r\nc")
    assert has_hidden("a\rb")


def test_every_control_and_every_direction_mark_is_shown() -> None:
    for code in [*range(0x3000), *range(0xD7FF, 0xE001), *range(0xFE00, 0x10000), 0xE0001]:
        char = chr(code)
        acting = unicodedata.category(char) in ACTING or unicodedata.bidirectional(char) in BIDI
        if acting and char not in "\t\n":
            assert inert(char) == f"‹U+{code:04X}›"

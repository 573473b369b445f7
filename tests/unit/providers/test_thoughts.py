"""Telling reasoning from text in one stream of text."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.providers.openai.thoughts import Thoughts


def heard(pieces: list[tuple[str, bool]]) -> tuple[str, str]:
    """Return reasoning and text."""
    thoughts = Thoughts()
    spoken = [thoughts.read(piece, thought=marked) for piece, marked in pieces]
    spoken.append(thoughts.rest())
    said = [piece for piece in spoken if piece is not None]
    assert all(piece.text for piece in said)
    return (
        "".join(piece.text for piece in said if piece.stream == "reasoning"),
        "".join(piece.text for piece in said if piece.stream == "text"),
    )


@given(
    thought=st.text(st.sampled_from("ab</th>")).filter(lambda text: "</thought>" not in text),
    text=st.text(st.sampled_from("ab</th>")),
    cuts=st.lists(st.integers(0, 60)),
)
def test_wherever_the_pieces_end_the_halves_are_the_same(
    thought: str, text: str, cuts: list[int]
) -> None:
    whole = f"<thought>{thought}</thought>{text}"
    at = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [(whole[start:end], False) for start, end in itertools.pairwise(at)]
    assert heard(pieces) == (thought, text)


@pytest.mark.parametrize(
    ("pieces", "reasoning", "text"),
    [
        ([("plain", False)], "", "plain"),
        ([("<thou", False)], "", "<thou"),
        ([("<thou", False), ("sand>", False)], "", "<thousand>"),
        ([("text <thought>x</thought>", False)], "", "text <thought>x</thought>"),
        ([("<thought>a", True), ("b", True), ("</thought>c", False)], "ab", "c"),
        ([("<thought>a", True), ("b</thought>", True), ("c", False)], "ab", "c"),
        ([("<thought>a", True), ("b", False), ("</thou", False), ("ght>c", False)], "ab", "c"),
        ([("a", True), ("c", False)], "a", "c"),
        ([("<thought>never closed", False)], "never closed", ""),
        ([], "", ""),
        ([("", False), ("", True)], "", ""),
    ],
)
def test_marks_and_tags_tell_reasoning(
    pieces: list[tuple[str, bool]], reasoning: str, text: str
) -> None:
    assert heard(pieces) == (reasoning, text)

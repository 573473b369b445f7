"""Diffs of texts: what they say leads from the one to the other, however long they are."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from perstack.services.file_diffs import counts, text_lines, unified

LINES = st.lists(st.sampled_from(["a", "b", "c", "", "@@ -1 +1 @@", "-x"]), max_size=30)
HEADING = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


def applied(before: list[str], diff: list[str]) -> list[str]:
    """What patch(1) would make of it."""
    made: list[str] = []
    at = left = right = 0
    for line in diff:
        if left == 0 and right == 0:
            heading = HEADING.fullmatch(line)
            assert heading is not None, line
            left, right = (int(heading[n]) if heading[n] else 1 for n in (2, 4))
            start = int(heading[1]) - (1 if left else 0)
            made += before[at:start]
            at = start
            continue
        if line[0] in " -":
            assert before[at] == line[1:]
            at, left = at + 1, left - 1
        if line[0] in " +":
            made.append(line[1:])
            right -= 1
    return made + before[at:]


@given(LINES, LINES)
def test_a_diff_leads_from_the_one_to_the_other(before: list[str], after: list[str]) -> None:
    diff = list(unified(before, after))
    assert applied(before, diff) == after
    added, removed = counts(before, after)
    assert len(before) + added - removed == len(after)
    assert bool(diff) == (before != after)


def test_texts_with_nothing_in_common_are_not_compared_line_by_line() -> None:
    before, after = ([f"{side} {n}" for n in range(9_000)] for side in "ab")
    assert counts(before, after) == (9_000, 9_000)
    assert applied(before, list(unified(before, after))) == after


def test_what_is_no_text_or_too_long_has_no_lines() -> None:
    assert text_lines(b"a\0b") is None
    assert text_lines(b"\xff\xfe") is None
    assert text_lines(b"x" * 2_000_000) is None
    assert text_lines(b"\n" * 30_000) is None
    assert text_lines(b"") == []
    assert text_lines("é\nb".encode()) == ["é", "b"]

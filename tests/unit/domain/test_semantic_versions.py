"""Which of two versions is the higher one."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.registry import VERSION_PATTERN
from perstack.domain.semantic_versions import highest, is_canonical, is_pre_release, order_of

# The example of semver.org, §11, and what it leaves out.
ASCENDING = [
    "0.0.9",
    "0.1.0",
    "1.0.0-0",
    "1.0.0-2",
    "1.0.0-11",
    "1.0.0-99999999999999999999",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-alpha-beta",
    "1.0.0-alphabet",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.0+a",
    "1.0.0+b",
    "1.0.1-a",
    "1.0.2",
    "1.0.10",
    "1.2.0",
    "1.10.0",
    "10.0.0",
]


def test_versions_sort_as_semver_says() -> None:
    for lower, higher in pairwise(ASCENDING):
        assert order_of(lower) < order_of(higher), (lower, higher)


@given(st.lists(st.from_regex(re.compile(VERSION_PATTERN, re.ASCII), fullmatch=True), max_size=5))
def test_of_two_different_versions_one_is_always_the_higher(versions: list[str]) -> None:
    canonical = {version for version in versions if is_canonical(version)}
    assert len({order_of(version) for version in canonical}) == len(canonical)
    if canonical:
        top = highest(canonical)
        assert top in canonical
        rivals = [each for each in canonical if not is_pre_release(each)] or canonical
        assert order_of(top) == max(map(order_of, rivals))


@pytest.mark.parametrize(
    ("versions", "top"),
    [
        ([], None),
        (["1.0.0-a", "1.0.0-b"], "1.0.0-b"),
        (["2.0.0-a", "1.0.0"], "1.0.0"),
        (["1.9.0", "1.10.0"], "1.10.0"),
        (["1.0.0+x-1"], "1.0.0+x-1"),
    ],
)
def test_a_pre_release_is_the_highest_only_where_there_is_nothing_else(
    versions: list[str], top: str | None
) -> None:
    assert highest(versions) == top


@pytest.mark.parametrize("version", ["01.0.0", "1.00.0", "1.0.0-01", "1.0.0-a.007", "1.0", ""])
def test_a_second_way_to_write_a_version_is_none(version: str) -> None:
    assert not is_canonical(version)


@pytest.mark.parametrize("version", ["0.0.0", "1.0.0-0a", "1.0.0-a.0", "1.0.0+007"])
def test_the_one_way_to_write_a_version_is_taken(version: str) -> None:
    assert is_canonical(version)

"""Points in time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.moments import from_iso8601, iso8601

LAST = 253_402_300_799_999


@given(st.integers(-62_135_596_800_000, LAST))
def test_every_millisecond_survives_being_written_and_read(moment: int) -> None:
    assert from_iso8601(iso8601(moment)) == moment


def test_a_moment_is_written_in_utc_with_milliseconds() -> None:
    assert iso8601(1_704_067_200_007) == "2024-01-01T00:00:00.007Z"


@pytest.mark.parametrize(
    "text", ["2024-01-01", "2024-01-01T00:00", "2024-01-01T02:00:00+02:00", "2024-01-01T00:00:00Z"]
)
def test_dates_and_other_zones_are_read(text: str) -> None:
    assert from_iso8601(text) == 1_704_067_200_000


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "1704067200000000000000"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_iso8601(text)

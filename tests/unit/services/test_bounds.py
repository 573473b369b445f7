"""The bounds of what front doors hand in."""

from __future__ import annotations

import pytest

from perstack.errors import UsageError
from perstack.services.bounds import MOST_METADATA, check_metadata


def test_metadata_of_64_kib_is_let_pass_and_one_character_more_is_not() -> None:
    around = len('{"a": ""}')
    check_metadata({"a": "x" * (MOST_METADATA - around)})
    check_metadata(None)
    with pytest.raises(UsageError, match="metadata must have at most 65,536 characters"):
        check_metadata({"a": "x" * (MOST_METADATA - around + 1)})


def test_metadata_that_json_has_no_words_for_is_refused() -> None:
    with pytest.raises(UsageError, match="the note must be a JSON object"):
        check_metadata({"a": float("nan")}, "the note")

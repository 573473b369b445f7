"""Ids that name folders."""

from __future__ import annotations

import pytest

from perstack.domain.ids import check_path_id
from perstack.errors import UsageError


@pytest.mark.parametrize(
    "given",
    [
        *("", ".", "..", "../../x", "/etc", "a/b", "a\\b", "a\0b", "\0", "a\nb", "a ", "-a", "~"),
        *("C:x", "a" * 129, "a" * 5_000, "caf\u00e9", "\u0661", "a\u202e", "\udcff", "a.b"),
    ],
    ids=ascii,
)
def test_what_could_be_a_path_is_no_id(given: str) -> None:
    with pytest.raises(UsageError, match="is not usable") as caught:
        check_path_id("job id", given)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("given", ["a", "J1", "a_b-c", "9" * 128])
def test_plain_ids_are_taken_as_they_are(given: str) -> None:
    assert check_path_id("job id", given) == given

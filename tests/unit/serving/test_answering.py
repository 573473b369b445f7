"""How what a verb could not do is told, and what is no JSON that others can read."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from pydantic_core import to_json

from perstack.errors import (
    DeniedError,
    NotFoundError,
    PerstackError,
    StorageError,
    UnfitError,
    UsageError,
)
from perstack.serving.verbs.answering import failed
from perstack.serving.verbs.plain_json import MOST_DEEP, check_plain, sendable
from perstack.serving.verbs.verb import AnyVerb, Asked, Call, FailsAs, Nothing, Verb


async def refuse(call: Call, asked: Asked) -> Nothing:
    return Nothing()


def verb(fails_as: FailsAs, emptied: dict[str, JsonValue] | None = None) -> AnyVerb:
    """Return a verb that fails so."""
    return Verb("try", "Try.", Asked, Nothing, refuse, fails_as=fails_as, emptied=emptied or {})


@pytest.mark.parametrize("error", [NotFoundError("gone"), UsageError("no"), StorageError("locked")])
def test_what_could_not_be_done_is_an_answer_with_its_reason_twice(error: PerstackError) -> None:
    told = failed(verb("success"), error)
    assert not told.is_error
    assert told.content == {
        "success": False,
        "message": error.message,
        "error": error.message,
        "code": error.code,
    }


@pytest.mark.parametrize("kind", [DeniedError, UnfitError])
@pytest.mark.parametrize("fails_as", ["success", "found", "error"])
def test_what_is_denied_or_unfit_is_an_error_of_the_call(
    kind: type[PerstackError], fails_as: Literal["success", "found", "error"]
) -> None:
    told = failed(verb(fails_as), kind("no"))
    assert told.is_error
    assert told.content["error"] == "no"


def test_what_is_not_there_is_not_found_but_a_broken_store_is_an_error() -> None:
    missing = failed(verb("found"), NotFoundError("gone"))
    assert (missing.is_error, missing.content["found"]) == (False, False)
    broken = failed(verb("found"), StorageError("locked"))
    assert broken.is_error
    assert "found" not in broken.content


def test_a_list_that_could_not_be_made_is_an_empty_one_with_its_error() -> None:
    told = failed(verb("error", {"count": 0, "results": []}), StorageError("locked"))
    assert not told.is_error
    assert told.content == {"count": 0, "results": [], "error": "locked", "code": "storage"}


def test_an_error_that_nobody_meant_is_told_by_no_word_of_its_own() -> None:
    told = failed(verb("success"), ValueError("the secret in the traceback"))
    assert told.is_error
    assert told.content["code"] == "internal"
    assert "secret" not in str(told.content)


def nested(levels: int) -> dict[str, JsonValue]:
    """Return so many objects, one in the other, and a number in the last."""
    deep: dict[str, JsonValue] = {"a": 1}
    for _ in range(levels - 1):
        deep = {"a": deep}
    return deep


def test_arguments_may_be_64_levels_deep() -> None:
    check_plain(nested(MOST_DEEP))
    with pytest.raises(UnfitError, match="nested deeper than 64 levels"):
        check_plain(nested(MOST_DEEP + 1))


def test_a_name_is_looked_at_like_a_text() -> None:
    with pytest.raises(UnfitError, match="half a character"):
        check_plain({"a": [{"\ud83d": 1}]})


@given(st.dictionaries(st.text(), st.recursive(st.text(), st.lists, max_leaves=5), max_size=4))
def test_what_is_sent_can_always_be_written_as_utf_8(content: dict[str, JsonValue]) -> None:
    to_json(sendable(content))


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8")),
        st.none() | st.integers() | st.text(st.characters(codec="utf-8")),
    )
)
def test_what_is_whole_is_sent_as_it_is(content: dict[str, JsonValue]) -> None:
    assert sendable(content) == content
    check_plain(content)


def test_halves_of_characters_are_replaced_wherever_they_are() -> None:
    content: dict[str, JsonValue] = {"a\ud800": [{"b": "\udc00"}, 1, None]}
    assert sendable(content) == {"a\ufffd\ufffd\ufffd": [{"b": "\ufffd\ufffd\ufffd"}, 1, None]}

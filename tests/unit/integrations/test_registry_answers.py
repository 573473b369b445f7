"""Whatever a registry answers is an answer or an error of ours, and never anything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.registry import RegistryKey, parse_key
from perstack.errors import RegistryError
from perstack.integrations.registry_answers import expert_in, page_in, refusal_in, versions_in
from perstack.integrations.registry_refusals import refused, wait_in
from tests.fakes.registry_wire import expert, listed, one, page

Reader = Callable[[bytes], object]

KEY = parse_key("tic-tac-toe")
READERS: tuple[Reader, ...] = (
    lambda body: expert_in(body, KEY),
    lambda body: versions_in(body, KEY),
    page_in,
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)
FIELDS = sorted(expert())


def said_of(read: Reader, body: bytes) -> str:
    try:
        read(body)
    except RegistryError as error:
        return error.message
    return ""


def held(body: bytes) -> None:
    for read in READERS:
        told = said_of(read, body)
        assert told.isprintable()
        assert len(told) < 400
    said = refusal_in(body)
    assert refused(400, said, what="x", host="h").message.isprintable()


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_an_error(body: bytes) -> None:
    held(body)


@given(JSON)
def test_any_json_is_an_answer_or_an_error(value: object) -> None:
    held(json.dumps(value).encode())


@given(JSON, st.sampled_from(["data", "expert", "experts", "versions", "meta", "reason", "error"]))
def test_any_json_in_an_envelope_is_an_answer_or_an_error(value: object, place: str) -> None:
    held(json.dumps({"data": {place: value}, "meta": value, place: value}).encode())


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, min_size=1, max_size=3))
def test_an_expert_with_any_json_in_its_fields_is_an_answer_or_an_error(
    wrong: dict[str, Any],
) -> None:
    held(json.dumps({"data": {"expert": {**expert(), **wrong}}}).encode())
    held(json.dumps(page({**expert(), **wrong})).encode())


@given(st.dictionaries(st.sampled_from(["key", "version", "tags", "status", "createdAt"]), JSON))
def test_versions_with_any_json_in_a_line_are_an_answer_or_an_error(wrong: dict[str, Any]) -> None:
    line: dict[str, Any] = {"key": "tic-tac-toe@1.0.0", "version": "1.0.0", "tags": [], **wrong}
    held(json.dumps({"data": {"versions": [line], "latest": None}}).encode())


@given(st.text(max_size=40), st.text(max_size=20))
def test_what_is_believed_is_always_what_was_asked_for(name: str, version: str) -> None:
    body = json.dumps({"data": {"expert": expert(name, version)}}).encode()
    asked = RegistryKey(None, "tic-tac-toe", version="1.0.0")
    if (name, version) == ("tic-tac-toe", "1.0.0"):
        assert expert_in(body, asked).version == "1.0.0"
    else:
        with pytest.raises(RegistryError):
            expert_in(body, asked)


@pytest.mark.parametrize(
    "skills",
    [
        '{"s": {"a": NaN}}',
        '{"s": {"a": -Infinity}}',
        '{"s": {"a": 1e999}}',
        '{"s": {"a": %s}}' % ("9" * 5000),
        '{"s": {"a": %s}}' % ("[" * 5000 + "]" * 5000),
        r'{"s": {"a": "\ud800"}}',
        r'{"\ud800": {}}',
    ],
    ids=["nan", "infinity", "overflow", "long", "deep", "surrogate", "surrogate-name"],
)
def test_json_that_is_none_in_other_programs_does_no_harm(skills: str) -> None:
    body = json.dumps(one(skills="HERE")).replace('"HERE"', skills).encode()
    held(body)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "[1e999]"])
def test_a_number_that_json_cannot_say_again_is_not_believed(number: str) -> None:
    body = json.dumps(one(skills={"s": {"a": "HERE"}})).replace('"HERE"', number)
    with pytest.raises(RegistryError, match="too large for JSON"):
        expert_in(body.encode(), KEY)


def test_what_is_read_is_what_was_told() -> None:
    found = expert_in(json.dumps(one(delegates=["@acme/x@1.0.0"])).encode(), KEY)
    assert found.delegates == ("@acme/x@1.0.0",)
    assert found.definition.key == "tic-tac-toe@1.0.0"
    versions = versions_in(json.dumps(listed("2.0.0", "1.0.0", latest="2.0.0")).encode(), KEY)
    assert [each.version for each in versions.versions] == ["2.0.0", "1.0.0"]
    assert versions.latest == "2.0.0"
    as_key = versions_in(json.dumps(listed("2.0.0", latest="tic-tac-toe@2.0.0")).encode(), KEY)
    assert as_key.latest == "2.0.0"
    told, dropped = page_in(json.dumps(page(expert(), expert("Big"), total=9)).encode())
    assert (len(told.experts), told.total, dropped) == (1, 9, 1)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-1", 0.0),
        ("1e9", 86_400.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 2999 23:59:59 GMT", 86_400.0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("1" * 100, None),
    ],
)
def test_a_wait_is_read_from_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert wait_in(header) == seconds


@given(st.text(max_size=80))
def test_any_wait_is_seconds_or_nothing(header: str) -> None:
    wait = wait_in(header)
    assert wait is None or 0 <= wait <= 86_400

"""Forms that tool servers send, and answers that fit them or do not."""

from __future__ import annotations

import json
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.domain.forms import MAX_FIELDS, form_of
from perstack.domain.inputs import InputField, fields_of, form_lines, read_answer

Json = dict[str, JsonValue]
NAME: Final[Json] = {"type": "string", "minLength": 2}
WILD: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.sampled_from(["object", "array", "string", "number"])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "required",
                    "enum",
                    "oneOf",
                    "anyOf",
                    "items",
                    "title",
                    "default",
                    "minItems",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def form(required: tuple[str, ...] = (), **properties: JsonValue) -> Json:
    """The form that a server's schema of these properties makes."""
    made = form_of({"type": "object", "properties": dict(properties), "required": list(required)})
    assert made is not None
    return made


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "array"},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": 7}},
        {"type": "object", "properties": {"a": {"type": "object"}}},
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}},
        {"type": "object", "properties": {"a": {"type": "array"}}},
        {"type": "object", "properties": {"a": {"type": "array", "items": {"enum": [1]}}}},
        {"type": "object", "properties": {"a": {"type": "array", "items": {"anyOf": ["x"]}}}},
        {"type": "object", "properties": {"a": {"type": "string", "items": {"enum": ["x"]}}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}},
        {"type": "object", "properties": {"a": {"enum": [1, 2]}}},
        {"type": "object", "properties": {"a": {"enum": []}}},
        {"type": "object", "properties": {"a": {"type": "string", "oneOf": [{"const": 1}]}}},
        {"type": "object", "properties": {"a": {"type": "string", "oneOf": ["x"]}}},
        {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {}]}}},
        {"type": "object", "properties": {}, "required": ["a"]},
        {"type": "object", "properties": {}, "required": "a"},
        {"type": "object", "properties": {}, "allOf": []},
        {"type": "object", "properties": {str(n): {"type": "string"} for n in range(33)}},
        {"type": "object", "properties": {"a": {"type": "string", "title": "x" * 30_000}}},
    ],
)
def test_what_is_no_flat_object_of_plain_values_and_choices_is_no_form(schema: Json) -> None:
    assert form_of(schema) is None


def test_a_form_keeps_only_what_is_checked_or_shown() -> None:
    given_: Json = {
        "type": "string",
        "title": "Mail",
        "format": "email",
        "pattern": "^(a+)+$",
        "maxLength": True,
        "minLength": -3,
        "x-secret": 1,
    }
    assert form(mail=given_)["properties"] == {
        "mail": {"type": "string", "title": "Mail", "format": "email"}
    }


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        ({"type": "number", "minimum": 10**400, "default": 10**400}, {"type": "number"}),
        ({"enum": ["a"], "default": "b"}, {"type": "string", "enum": ["a"]}),
        (
            {"type": "array", "items": {"enum": ["a"]}, "minItems": True, "default": ["b"]},
            {"type": "array", "items": {"type": "string", "enum": ["a"]}, "uniqueItems": True},
        ),
    ],
)
def test_what_no_answer_could_fit_is_not_kept(given_: Json, kept: Json) -> None:
    assert form(it=given_)["properties"] == {"it": kept}


INSTRUMENTS: Final[Json] = {
    "type": "array",
    "title": "Instruments",
    "items": {"type": "string", "enum": ["Guitar", "Piano", "Voice, high"]},
    "minItems": 1,
    "maxItems": 2,
    "default": ["Guitar", "Voice, high"],
}
FISH: Final[Json] = {
    "type": "array",
    "items": {"anyOf": [{"const": "f1", "title": "Tuna"}, {"const": "f2", "title": "Trout"}]},
}


def test_several_choices_are_a_field_with_its_bounds() -> None:
    made = form(("play",), play=INSTRUMENTS, fish=FISH)
    choices = ("Guitar", "Piano", "Voice, high")
    assert fields_of(made) == (
        InputField(
            "play",
            "Instruments",
            "string",
            required=True,
            choices=choices,
            labels=choices,
            default="Guitar, Voice, high",
            several=True,
            at_least=1,
            at_most=2,
        ),
        InputField(
            "fish",
            "fish",
            "string",
            required=False,
            choices=("f1", "f2"),
            labels=("Tuna", "Trout"),
            several=True,
        ),
    )
    assert form_lines(made) == [
        "play (Instruments): Guitar | Piano | Voice, high (1 to 2 of them)",
        "fish: f1 | f2 (any of them), may be left out",
    ]


@pytest.mark.parametrize(
    ("field", "text", "chosen"),
    [
        (INSTRUMENTS, "Guitar", ["Guitar"]),
        (INSTRUMENTS, "Voice, high,Piano", ["Voice, high", "Piano"]),
        (INSTRUMENTS, " Piano , Piano, ", ["Piano"]),
        (INSTRUMENTS, '["Piano"]', ["Piano"]),
        (INSTRUMENTS, '{"it": ["Piano", "Guitar"]}', ["Piano", "Guitar"]),
        (FISH, "Trout, f1", ["f2", "f1"]),
        (FISH, "[]", []),
    ],
)
def test_several_choices_are_given_with_commas_or_as_json(
    field: Json, text: str, chosen: list[JsonValue]
) -> None:
    assert read_answer(form(it=field), text) == {"it": chosen}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Drums", "one of: Guitar"),
        ("Guitar Piano", "one of: Guitar"),
        ("Guitar, Piano, Voice, high", "1 to 2 of them"),
        (",", "one of: Guitar"),
        ("[]", "it: "),
        ('["Piano", "Piano"]', "non-unique"),
        ('["Drums"]', "it.0: 'Drums' is not one of"),
        ('{"it": "Piano"}', "not of type 'array'"),
    ],
)
def test_several_choices_that_do_not_fit_say_what_is_wanted(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_answer(form(it=INSTRUMENTS), text)


def test_fields_come_in_the_servers_order_with_what_they_are_called() -> None:
    made = form(
        ("b",),
        b={"type": "boolean", "default": True},
        a={"oneOf": [{"const": "x", "title": "Ex"}, {"const": "y"}]},
        c={"type": ["integer", "null"], "title": "Count", "description": "how many"},
        d={"anyOf": [{"type": "number"}, {"type": "null"}], "default": float("inf")},
    )
    assert fields_of(made) == (
        InputField("b", "b", "boolean", required=True, default="true"),
        InputField("a", "a", "string", required=False, choices=("x", "y"), labels=("Ex", "y")),
        InputField("c", "Count", "integer", required=False, description="how many"),
        InputField("d", "d", "number", required=False),
    )


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"name": "ana"}', {"name": "ana"}),
        ("ana", {"name": "ana"}),
        ("  ana ", {"name": "ana"}),
        ('"quoted"', {"name": '"quoted"'}),
        ("[1]", {"name": "[1]"}),
    ],
)
def test_a_single_text_field_takes_json_or_just_the_text(text: str, answer: Json) -> None:
    assert read_answer(form(("name",), name=NAME), text) == answer


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ({"type": "boolean"}, "yes", True),
        ({"type": "boolean"}, "No", False),
        ({"type": "integer"}, "7", 7),
        ({"type": "number"}, "7.5", 7.5),
        ({"enum": ["eu"], "enumNames": ["Europe"]}, "Europe", "eu"),
        ({"type": "string", "format": "uri"}, "https://a.example/b", "https://a.example/b"),
        ({"type": "string", "format": "date-time"}, "2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
    ],
)
def test_a_single_field_takes_its_value_as_one_writes_it(
    field: Json, text: str, value: JsonValue
) -> None:
    assert read_answer(form(it=field), text) == {"it": value}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x", "too short"),
        ("", "a JSON object is wanted; its fields: name"),
        ('{"name": "ana", "age": 7}', "age"),
        ('{"name": 7}', "not of type 'string'"),
        ("{}", "'name' is a required property"),
        ('{"name": "' + "x" * 30_000 + '"}', "at most 20,000 characters"),
    ],
)
def test_an_answer_that_does_not_fit_says_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_answer(form(("name",), name=NAME), text)


@pytest.mark.parametrize(
    ("field", "text", "wanted"),
    [
        ({"type": "integer"}, "seven", "a whole number"),
        ({"type": "number"}, "inf", "a number"),
        ({"type": "boolean"}, "maybe", "yes or no"),
        ({"enum": ["eu", "us"]}, "mars", "one of: eu, us"),
        ({"type": "string", "format": "email"}, "nobody", "email"),
        ({"type": "string", "format": "uri"}, "no address", "uri"),
        ({"type": "string", "format": "uri"}, "http://[", "uri"),
        ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00", "date-time"),
        ({"type": "string", "format": "date-time"}, "tomorrow", "date-time"),
        ({"type": "integer", "minimum": 3}, "2", "less than the minimum"),
    ],
)
def test_a_value_that_does_not_fit_says_what_is_wanted(field: Json, text: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        read_answer(form(it=field), text)


def test_numbers_that_are_no_json_are_no_answer() -> None:
    made = form(a={"type": "number"}, b={"type": "number"})
    with pytest.raises(ValueError, match="JSON object"):
        read_answer(made, '{"a": NaN, "b": 1}')


@given(WILD)
def test_any_schema_makes_a_form_that_is_its_own_form_or_none(schema: JsonValue) -> None:
    made = form_of(schema) if isinstance(schema, dict) else None
    if made is not None:
        assert form_of(made) == made
        assert len(fields_of(made)) <= MAX_FIELDS
        json.dumps(made, allow_nan=False)


@given(st.text(max_size=200))
def test_any_text_is_an_answer_that_fits_or_an_error_in_words(text: str) -> None:
    made = form(("name",), name=NAME, ok={"type": "boolean"})
    try:
        name = read_answer(made, text)["name"]
    except ValueError as error:
        name = str(error)
    assert isinstance(name, str)
    assert len(name) > 1

"""What is made of a server's messages and schemas before anything trusts them."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from perstack.skills.base.skill import NAMES
from perstack.skills.mcp.lenient import INPUT_SCHEMA, mended
from perstack.skills.mcp.limits import MAX_SCHEMA_CHARS
from perstack.skills.mcp.schema import Checker, why_broken
from perstack.skills.text import MAX_TEXT_CHARS
from perstack.skills.toolset import free_name

Json = dict[str, JsonValue]
BROKEN = "the server's reply breaks the protocol"


def _tools(*tools: JsonValue) -> tuple[list[JsonValue], list[str]]:
    told: list[str] = []
    reply = mended({"jsonrpc": "2.0", "id": 1, "result": {"tools": [*tools]}}, told.append)
    assert reply is not None
    result = reply["result"]
    assert isinstance(result, dict)
    kept = result["tools"]
    assert isinstance(kept, list)
    return kept, told


def _tool(name: JsonValue, schema: JsonValue) -> Json:
    meta: Json = {INPUT_SCHEMA: schema}
    return {"name": name, "inputSchema": {"type": "object"}, "_meta": meta}


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "id": 7, "method": "roots/list", "params": {}},
        {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "x"}]}},
        {"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "x"}},
    ],
)
def test_a_good_message_is_left_as_it_is(message: Json) -> None:
    assert mended(message, pytest.fail) == message


@pytest.mark.parametrize(
    "reply",
    [
        {"id": 3, "result": {}},
        {"jsonrpc": "1.0", "id": 3, "result": {}},
        {"jsonrpc": "2.0", "id": 3},
        {"jsonrpc": "2.0", "id": 3, "result": None},
        {"jsonrpc": "2.0", "id": 3, "result": [1]},
        {"jsonrpc": "2.0", "id": 3, "result": {}, "error": {"code": 1, "message": ""}},
    ],
)
def test_a_broken_reply_becomes_an_error_for_whom_it_is_meant(reply: Json) -> None:
    told = mended(reply, pytest.fail)
    assert told == {"jsonrpc": "2.0", "id": 3, "error": {"code": -32603, "message": BROKEN}}


@pytest.mark.parametrize("value", [None, 7, "words", [], [{"id": 1}], {}, {"result": {}}])
def test_what_is_no_message_is_none(value: JsonValue) -> None:
    assert mended(value, pytest.fail) is None


def test_tools_lose_what_could_break_the_list_and_keep_their_schema() -> None:
    schema: Json = {"properties": {"a": {"type": "string"}}}
    given: Json = {"name": "a", "inputSchema": schema, "annotations": 7, "icons": "?", "title": []}
    kept, told = _tools(given, {"name": "b"}, {"name": "c", "inputSchema": {"type": "array"}})
    assert kept == [
        _tool("a", {**schema, "type": "object"}),
        _tool("b", {"type": "object"}),
        _tool("c", {"type": "object"}),
    ]
    assert told == []


@pytest.mark.parametrize("name", ["", "two words", "../up", "x" * 65, "ä", "a\n", None, 7])
def test_a_tool_without_a_usable_name_is_left_out_and_told(name: JsonValue) -> None:
    kept, told = _tools({"name": name}, {"name": "good"})
    assert kept == [_tool("good", {"type": "object"})]
    assert "was left out" in told[0]


def test_a_tool_with_a_huge_schema_is_left_out_and_told() -> None:
    kept, told = _tools({"name": "a", "inputSchema": {"description": "x" * MAX_SCHEMA_CHARS}})
    assert kept == []
    assert told == ["the tool a was left out: its schema is longer than 100,000 characters"]


def test_a_long_text_is_cut_before_anybody_copies_it() -> None:
    content: JsonValue = [{"type": "text", "text": "x" * 1_000_000}]
    reply = mended({"jsonrpc": "2.0", "id": 1, "result": {"content": content}}, pytest.fail)
    assert len(str(reply)) < MAX_TEXT_CHARS + 500


def test_values_are_checked_against_a_schema() -> None:
    schema: Json = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    checker = Checker(schema)
    assert checker.problem({"n": 1}) is None
    assert checker.problem({}) == "$: 'n' is a required property"
    assert checker.problem({"n": "1"}) == "$.n: '1' is not of type 'integer'"
    assert checker.problem({"n": 1, "m": 2}) is not None


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {"type": 7},
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$schema": "http://127.0.0.1:9/meta", "type": "object"},
        {"properties": {"text": {"pattern": "^(a+)+$"}}},
        {"patternProperties": {"^(a+)+$": False}, "additionalProperties": False},
        {"properties": {"text": {"pattern": "("}}},
    ],
)
def test_a_broken_or_hostile_schema_lets_all_pass_at_once(schema: JsonValue) -> None:
    assert Checker(schema).problem({"text": "a" * 60 + "b"}) is None


def test_a_property_may_be_called_pattern() -> None:
    schema: Json = {"properties": {"pattern": {"type": "string"}}, "required": ["pattern"]}
    assert Checker(schema).problem({"pattern": 7}) == "$.pattern: 7 is not of type 'string'"


def test_a_broken_schema_is_told_apart() -> None:
    assert why_broken({"type": "object", "properties": {"a": {"type": "string"}}}) is None
    assert why_broken({"type": "object", "properties": []}) is not None
    assert why_broken({"type": "object", "properties": {"a": {"type": "strnig"}}}) is not None


def test_a_free_name_is_kept_and_a_taken_one_gets_the_skills() -> None:
    assert free_name("web", "search", taken=NAMES) == "search"
    assert free_name("web", "exec", taken=NAMES) == "web__exec"
    assert free_name("@a/web.io", "exec", taken=NAMES) == "a_web_io__exec"
    assert free_name("web", "exec", taken=[*NAMES, "web__exec"]) is None


def test_a_made_name_is_short_enough_stable_and_distinct() -> None:
    one = free_name("s" * 60, "exec", taken=NAMES)
    other = free_name("s" * 60 + "t", "exec", taken=NAMES)
    assert one is not None
    assert len(one) == 64
    assert one == free_name("s" * 60, "exec", taken=NAMES)
    assert one != other

"""What is kept of what a server tells unasked."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import jsonrpc_message_adapter
from pydantic import JsonValue

from perstack.skills.mcp.lenient import mended
from perstack.skills.mcp.notifications import UNHEARD, heard, is_notification

Json = dict[str, JsonValue]
WILD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
PARAMS = st.dictionaries(
    st.sampled_from(
        ["progressToken", "progress", "total", "message", "level", "logger", "data", "requestId"]
    ),
    WILD,
)
METHODS = st.sampled_from(
    [
        "notifications/progress",
        "notifications/message",
        "notifications/cancelled",
        "notifications/tools/list_changed",
        "no/such",
    ]
)


@given(METHODS, PARAMS | WILD)
def test_whatever_is_told_becomes_a_notification_that_can_be_read(
    method: str, params: JsonValue
) -> None:
    said: Json = {"jsonrpc": "2.0", "method": method, "params": params}
    told = heard(said)
    jsonrpc_message_adapter.validate_python(told)
    if told["method"] == "notifications/progress":
        json.dumps(told, allow_nan=False)


@pytest.mark.parametrize(
    "number", [10**400, -(10**400), float("inf"), float("nan"), True, "1", None, []]
)
def test_a_number_that_no_float_holds_is_no_progress(number: JsonValue) -> None:
    said: Json = {
        "jsonrpc": "2.0",
        "method": "notifications/progress",
        "params": {"progressToken": 1, "progress": number},
    }
    assert heard(said)["method"] == UNHEARD


def test_requests_and_answers_are_no_notifications() -> None:
    assert not is_notification({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
    assert not is_notification({"jsonrpc": "2.0", "id": 1, "result": {}})
    assert is_notification({"jsonrpc": "2.0", "method": "x"})


def test_a_log_message_is_whole_until_secrets_are_taken_out() -> None:
    said: Json = {
        "jsonrpc": "2.0",
        "method": "notifications/message",
        "params": {"level": "no such level", "data": ["x" * 10_000], "more": 1},
    }
    assert mended(said, pytest.fail) == {
        "jsonrpc": "2.0",
        "method": "notifications/message",
        "params": {"level": "info", "data": json.dumps(["x" * 10_000])},
    }

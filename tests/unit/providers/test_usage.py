"""What each protocol says was used, and what Perstack makes of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.usage import Usage
from perstack.providers.anthropic.answer import ClaudeAnswer
from perstack.providers.openai import chat_answer, responses_answer

HUGE = 10**15
UNTOLD = Usage(partial=True)


def claude(start: Mapping[str, object], end: Mapping[str, object]) -> Usage:
    answer = ClaudeAnswer()
    answer.feed({"type": "message_start", "message": {"usage": start}})
    answer.feed({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end})
    return answer.generation().usage


@pytest.mark.parametrize(
    ("start", "end", "used"),
    [
        (
            {"input_tokens": 10, "output_tokens": 1},
            {"output_tokens": 20},
            Usage(input_tokens=10, output_tokens=20, total_tokens=30),
        ),
        (
            {
                "input_tokens": 10,
                "cache_read_input_tokens": 80,
                "cache_creation_input_tokens": 7,
                "output_tokens": 1,
            },
            {"output_tokens": 20, "output_tokens_details": {"thinking_tokens": 12}},
            Usage(
                input_tokens=97,
                output_tokens=20,
                reasoning_tokens=12,
                total_tokens=117,
                cached_input_tokens=80,
                cache_write_tokens=7,
            ),
        ),
        (
            {
                "input_tokens": 10,
                "cache_creation_input_tokens": 7,
                "cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 0},
            },
            {"output_tokens": 2, "server_tool_use": {"web_search_requests": 3}},
            Usage(input_tokens=17, output_tokens=2, total_tokens=19, cache_write_tokens=7),
        ),
        # A server that says at the end what it said at the start, with more.
        (
            {"input_tokens": 0, "output_tokens": 0},
            {"input_tokens": 11, "cache_read_input_tokens": 5, "output_tokens": 3},
            Usage(input_tokens=16, output_tokens=3, total_tokens=19, cached_input_tokens=5),
        ),
        # What the start says of the output is no count yet.
        (
            {"input_tokens": 10, "output_tokens": 1},
            {},
            Usage(input_tokens=10, total_tokens=10, partial=True),
        ),
        (
            {"input_tokens": None},
            {"output_tokens": 5},
            Usage(output_tokens=5, total_tokens=5, partial=True),
        ),
        ({}, {}, UNTOLD),
        ({"input_tokens": -5, "output_tokens": "many"}, {"output_tokens": HUGE}, UNTOLD),
        ({"input_tokens": None}, {"output_tokens": 1.5}, UNTOLD),
        ({"input_tokens": True}, {}, UNTOLD),
    ],
)
def test_claude(start: Mapping[str, object], end: Mapping[str, object], used: Usage) -> None:
    assert claude(start, end) == used


@pytest.mark.parametrize(
    ("said", "used"),
    [
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 12},
            },
            Usage(
                input_tokens=100,
                output_tokens=20,
                reasoning_tokens=12,
                total_tokens=120,
                cached_input_tokens=80,
                cache_write_tokens=4,
            ),
        ),
        # DeepSeek's own word for cached tokens.
        (
            {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 8},
            Usage(input_tokens=9, output_tokens=1, total_tokens=10, cached_input_tokens=8),
        ),
        # More cached or reasoned than there was at all.
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 50},
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(
                input_tokens=5,
                output_tokens=2,
                reasoning_tokens=2,
                total_tokens=7,
                cached_input_tokens=5,
            ),
        ),
        (
            {"prompt_tokens": 5, "completion_tokens": None, "total_tokens": HUGE},
            Usage(input_tokens=5, total_tokens=5, partial=True),
        ),
        ({"prompt_tokens": 5, "completion_tokens": 0}, Usage(input_tokens=5, total_tokens=5)),
        ({"prompt_tokens": -1, "completion_tokens": HUGE}, UNTOLD),
        ({"prompt_tokens_details": "x", "completion_tokens_details": []}, UNTOLD),
        ({}, UNTOLD),
    ],
)
def test_chat_completions(said: Mapping[str, object], used: Usage) -> None:
    assert chat_answer.to_usage(said) == used


@pytest.mark.parametrize(
    ("said", "used"),
    [
        (
            {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 150},
            Usage(input_tokens=100, output_tokens=50, reasoning_tokens=30, total_tokens=150),
        ),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            Usage(input_tokens=100, output_tokens=50, reasoning_tokens=30, total_tokens=150),
        ),
        (
            {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": HUGE},
            Usage(input_tokens=100, output_tokens=20, total_tokens=120),
        ),
    ],
)
def test_google_counts_reasoning_in_the_total_alone(
    said: Mapping[str, object], used: Usage
) -> None:
    assert chat_answer.to_usage(said, hidden_reasoning=True) == used


@pytest.mark.parametrize(
    ("said", "used"),
    [
        (
            {
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 4},
                "output_tokens": 20,
                "output_tokens_details": {"reasoning_tokens": 12},
                "total_tokens": 120,
            },
            Usage(
                input_tokens=100,
                output_tokens=20,
                reasoning_tokens=12,
                total_tokens=120,
                cached_input_tokens=80,
                cache_write_tokens=4,
            ),
        ),
        (
            {"input_tokens": 3, "output_tokens": -1},
            Usage(input_tokens=3, total_tokens=3, partial=True),
        ),
        ({"input_tokens": -3, "output_tokens": HUGE}, UNTOLD),
        ({}, UNTOLD),
    ],
)
def test_responses(said: Mapping[str, object], used: Usage) -> None:
    assert responses_answer.to_usage(said) == used


ODD: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers(-5, 5000) | st.integers() | st.floats() | st.text()
)
TOLD: st.SearchStrategy[dict[str, object]] = st.fixed_dictionaries(
    {},
    optional={
        "input_tokens": ODD,
        "output_tokens": ODD,
        "prompt_tokens": ODD,
        "completion_tokens": ODD,
        "total_tokens": ODD,
        "thinking_tokens": ODD,
        "cache_read_input_tokens": ODD,
        "cache_creation_input_tokens": ODD,
        "prompt_cache_hit_tokens": ODD,
        "input_tokens_details": st.fixed_dictionaries({"cached_tokens": ODD}),
        "prompt_tokens_details": st.fixed_dictionaries({"cached_tokens": ODD}),
        "output_tokens_details": st.fixed_dictionaries({"thinking_tokens": ODD}),
        "completion_tokens_details": st.fixed_dictionaries({"reasoning_tokens": ODD}),
    },
)


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**9


@given(TOLD)
def test_whatever_is_told_each_token_is_counted_once_and_gaps_are_marked(
    told: dict[str, object],
) -> None:
    named = is_count(told.get("input_tokens")) and is_count(told.get("output_tokens"))
    counted = is_count(told.get("prompt_tokens")) and is_count(told.get("completion_tokens"))
    for usage, whole in (
        (claude(told, told), named),
        (responses_answer.to_usage(told), named),
        (chat_answer.to_usage(told), counted),
        (chat_answer.to_usage(told, hidden_reasoning=True), counted),
    ):
        assert usage.partial is not whole
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        assert 0 <= usage.cached_input_tokens <= usage.input_tokens
        assert 0 <= usage.cache_write_tokens <= usage.input_tokens
        assert 0 <= usage.reasoning_tokens <= usage.output_tokens

"""Converting each message once."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from perstack.domain.ids import RunId
from perstack.domain.messages import Message
from perstack.providers.anthropic import wire as anthropic_wire
from perstack.providers.conversations import Conversations
from perstack.providers.openai import chat_wire, responses_wire
from tests.fakes.conversation import call, expert, result, system, tools, user

RUN = RunId("r")

MESSAGES = st.lists(
    st.sampled_from([
        lambda: user("a question"),
        lambda: user(""),
        lambda: expert("an answer"),
        lambda: expert(call("read", path="x")),
        lambda: expert(),
        lambda: tools(result("read", "c1", "its content")),
    ]).map(lambda make: make()),
    max_size=12,
)  # fmt: skip


def test_each_message_is_converted_once() -> None:
    seen: list[Message] = []

    def convert(message: Message) -> tuple[int]:
        seen.append(message)
        return (len(seen),)

    conversations = Conversations[int](convert)
    history: list[Message] = [system()]
    for _ in range(5):
        conversations.take(RUN, tuple(history))
        history += [user("more"), expert("yes")]
    assert conversations.take(RUN, history) == list(range(1, 12))
    assert len(seen) == 11


def test_a_run_whose_past_changed_is_converted_anew() -> None:
    conversations = Conversations[Message](lambda message: (message,))
    first, second, third = user("1"), user("2"), user("3")
    conversations.take(RUN, [first, second])
    assert conversations.take(RUN, [first, third]) == [first, third]
    assert conversations.take(RUN, [first]) == [first]


def test_an_equal_message_that_is_another_object_counts_as_a_change() -> None:
    count = 0

    def convert(message: Message) -> tuple[Message]:
        nonlocal count
        count += 1
        return (message,)

    conversations = Conversations[Message](convert)
    message = user("1")
    conversations.take(RUN, [message])
    conversations.take(RUN, [message.model_copy()])
    assert count == 2


def test_runs_are_apart_and_can_be_forgotten() -> None:
    conversations = Conversations[Message](lambda message: (message,))
    ours, theirs = user("ours"), user("theirs")
    assert conversations.take(RUN, [ours]) == [ours]
    assert conversations.take(RunId("other"), [theirs]) == [theirs]
    conversations.forget(RUN)
    conversations.forget(RUN)
    assert conversations.take(RUN, [ours]) == [ours]


def test_the_list_handed_out_is_the_callers() -> None:
    conversations = Conversations[Message](lambda message: (message,))
    message = user("1")
    conversations.take(RUN, [message]).clear()
    assert conversations.take(RUN, [message]) == [message]


@settings(deadline=None, max_examples=60)
@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 12), max_size=6))
def test_converting_bit_by_bit_equals_converting_at_once(
    messages: list[Message], cuts: list[int]
) -> None:
    history = [system(), *messages]
    grown = Conversations[anthropic_wire.Turn](anthropic_wire.to_turns)
    grown_openai = Conversations[bytes](chat_wire.to_messages)
    grown_responses = Conversations[bytes](responses_wire.to_items)
    for cut in cuts:  # Not sorted: the history may also be taken back.
        grown.take(RUN, history[: cut + 1])
        grown_openai.take(RUN, history[: cut + 1])
        grown_responses.take(RUN, history[: cut + 1])
    at_once = [turn for message in history for turn in anthropic_wire.to_turns(message)]
    assert grown.take(RUN, history) == at_once
    at_once_openai = [one for message in history for one in chat_wire.to_messages(message)]
    assert grown_openai.take(RUN, history) == at_once_openai
    at_once_responses = [one for message in history for one in responses_wire.to_items(message)]
    assert grown_responses.take(RUN, history) == at_once_responses
    assert all(json.loads(turn.encoded)["content"] for turn in at_once)

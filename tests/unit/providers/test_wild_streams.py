"""Whatever a vendor streams, an answer or our own error comes of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from perstack.domain.ids import MessageId
from perstack.domain.messages import ExpertMessage
from perstack.errors import ProviderError
from perstack.ports.model import Generation, Spoken
from perstack.providers.anthropic.answer import ClaudeAnswer
from perstack.providers.anthropic.wire import to_turns
from perstack.providers.failures import Endpoint
from perstack.providers.openai.chat_answer import ChatAnswer
from perstack.providers.openai.chat_wire import Dialect, to_messages
from perstack.providers.openai.responses_answer import ResponsesAnswer
from perstack.providers.openai.responses_wire import to_items
from perstack.providers.vendor import Collector
from tests.fakes.model_wire import Call, Reply, anthropic_events, openai_events
from tests.fakes.responses_wire import responses_events

ENDPOINT: Final = Endpoint("Vendor", "m", "KEY")
GOOGLES: Final = Dialect(tagged_thoughts=True, signs_calls="google")
SEARCH: Final = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": "x"}}
REPLY: Final = Reply(
    ["I ", "look"],
    ["h", "m"],
    redacted="r",
    calls=[Call("read", {"path": "x"}, "c1"), Call("ls", {}, "c1")],
    reasoning_tokens=5,
    encrypted="gAAA",
    phase="commentary",
    container="ctr",
    signed="sig",
)


def parsed(events: Iterable[bytes]) -> list[Any]:
    lines = [line for event in events for line in event.splitlines()]
    data = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: {")]
    return [json.loads(one) for one in data]


def searching(kind: str) -> Reply:
    item = SEARCH if kind == "server_tool_use" else {"type": kind, "id": "ws_1"}
    return Reply(REPLY.text, REPLY.thinking, calls=REPLY.calls, blocks=[item], encrypted="g")


STREAMS: Final[list[tuple[Callable[[], Collector], list[Any]]]] = [
    (ClaudeAnswer, parsed(anthropic_events(REPLY))),
    (ClaudeAnswer, parsed(anthropic_events(searching("server_tool_use")))),
    (ChatAnswer, parsed(openai_events(REPLY))),
    (lambda: ChatAnswer(GOOGLES), parsed(openai_events(REPLY))),
    (lambda: ResponsesAnswer(ENDPOINT), parsed(responses_events(REPLY))),
    (lambda: ResponsesAnswer(ENDPOINT), parsed(responses_events(searching("web_search_call")))),
]
LEAVES: Final = (
    st.none()
    | st.booleans()
    | st.integers(-2, 10**12)
    | st.floats()
    | st.sampled_from(["", "x", "<thought>", "</thought>", "{", "[1]", '{"a": 1}', "\ud800"])
)
VALUES: Final = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("type"), inner),
    max_leaves=3,
)


def mutated(draw: Callable[[st.SearchStrategy[Any]], Any], events: list[Any]) -> list[Any]:
    """Drop, repeat or move an event, or put something else into the place of a value."""
    changed: list[Any] = copy.deepcopy(events)
    for _ in range(draw(st.integers(1, 4))):
        if not changed:
            break
        at = draw(st.integers(0, len(changed) - 1))
        match draw(st.sampled_from(["drop", "repeat", "move", "set", "set", "set"])):
            case "drop":
                changed.pop(at)
            case "repeat":
                changed.insert(at, copy.deepcopy(changed[at]))
            case "move":
                changed.insert(draw(st.integers(0, len(changed) - 1)), changed.pop(at))
            case _:
                changed[at] = replaced(draw, changed[at])
    return changed


def replaced(draw: Callable[[st.SearchStrategy[Any]], Any], value: Any) -> Any:
    """Go down a random way, and put something else there."""
    inner = cast("dict[Any, Any] | list[Any] | None", value if holds(value) else None)
    if not inner or not draw(st.integers(0, 3)):
        return draw(VALUES)
    keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
    key = draw(st.sampled_from(keys))
    inner[key] = replaced(draw, inner[key])
    return inner


def holds(value: object) -> bool:
    return isinstance(value, dict | list)


@settings(deadline=None)
@given(st.sampled_from(STREAMS), st.data())
def test_a_damaged_stream_makes_an_answer_that_can_be_stored_and_sent_again(
    stream: tuple[Callable[[], Collector], list[Any]], data: st.DataObject
) -> None:
    make, events = stream
    answer = make()
    with suppress(ProviderError):
        for event in mutated(data.draw, events):
            shown = answer.feed(event)
            assert shown is None or isinstance(shown, Spoken)
        if answer.complete:
            fits(answer.generation())


def test_the_streams_are_whole_before_they_are_damaged() -> None:
    for make, events in STREAMS:
        answer = make()
        for event in events:
            answer.feed(event)
        assert answer.complete
        generation = answer.generation()
        fits(generation)
        assert len(generation.parts) >= 4


def fits(generation: Generation) -> None:
    """Check that it can be written down as JSON, and made a request of in every protocol."""
    message = ExpertMessage(id=MessageId("m"), contents=generation.parts)
    assert ExpertMessage.model_validate_json(message.model_dump_json())
    for turn in to_turns(message):
        turn.encoded.decode()
    for encoded in (*to_messages(message, GOOGLES), *to_items(message)):
        encoded.decode()
    calls = [call.tool_call_id for call in message.tool_calls]
    assert len(set(calls)) == len(calls)
    assert generation.usage.total_tokens >= 0

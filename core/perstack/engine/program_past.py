"""What a program is told of a run that its own session does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perstack.domain.messages import (
    ExpertMessage,
    InstructionMessage,
    Message,
    ToolCallPart,
    ToolMessage,
    UserMessage,
    text_of,
)
from perstack.projection.run_state import RunState

# The end of a long past matters most, and an argument's length has its bounds.
MOST_CHARACTERS: Final = 100_000
_OF_A_RESULT: Final = 2_000


def past_text(messages: Sequence[Message]) -> str:
    """Return what was said and done before the words that the program is told now."""
    said = list(messages)
    while said and isinstance(said[-1], UserMessage):
        said.pop()
    lines = [line for message in said for line in _lines(message)]
    text = "\n".join(lines)
    return text if len(text) <= MOST_CHARACTERS else "…" + text[-MOST_CHARACTERS:]


def settled_notes(state: RunState, *, all_of_them: bool) -> Sequence[str]:
    """Return what became of the calls that were open when the program was ended.

    Its own session has the good results, but for those that it waited for; `all_of_them` tells
    these, too.
    """
    notes: list[str] = []
    for call in state.calls:
        result, route = state.results.get(call.tool_call_id), state.routes.get(call.tool_call_id)
        if result is None:
            continue
        text = text_of(result.result)
        if route is not None and route.kind == "interactive":
            notes.append(f"The user's answer to {call.tool_name}:\n{text}")
        elif result.is_error:
            notes.append(f"Of your call of {call.tool_name}: {text}")
        elif all_of_them:
            notes.append(f"Result of {call.tool_name}: {text[:_OF_A_RESULT]}")
    return notes


def unheard(state: RunState) -> Sequence[str]:
    """Return what the user said since the Expert said or did something."""
    found: list[str] = []
    for at in range(len(state.messages) - 1, -1, -1):
        message = state.messages[at]
        if not isinstance(message, UserMessage):
            break
        found.insert(0, text_of(message.contents))
    found += [
        text_of(message.contents) for message in state.queued if isinstance(message, UserMessage)
    ]
    return [text for text in found if text.strip()]


def _lines(message: Message) -> list[str]:
    match message:
        case InstructionMessage():
            return []
        case UserMessage():
            return [f"User: {text_of(message.contents)}"]
        case ExpertMessage():
            text = [f"You: {message.text}"] if message.text.strip() else []
            return text + [_called(call) for call in message.tool_calls]
        case ToolMessage():
            return [
                f"Result of {part.tool_name}: {text_of(part.contents)[:_OF_A_RESULT]}"
                for part in message.contents
            ]


def _called(call: ToolCallPart) -> str:
    return f"You called {call.tool_name} with {str(call.args)[:_OF_A_RESULT]}"

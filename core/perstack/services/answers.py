"""What the user's words answer: the first question that waits, one by its id, or all of them.

A text is the answer to the first. JSON answers by name: `{"toolCallId": …, "text": …}`, an array
of these, or an array of texts, one for each question that waits, in their order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError

from perstack.config.limits import QUERY_LENGTH
from perstack.domain.base import Model
from perstack.domain.ids import ToolCallId
from perstack.domain.jobs import InteractiveAnswer
from perstack.domain.messages import ToolCallPart
from perstack.errors import ConflictError, UsageError
from perstack.projection.run_state import RunState

_BY_NAME: Final = 'name the question: {"toolCallId": "…", "text": "…"}'


class _Named(Model):
    # toolName and skillName may stand there, as in Perstack's JSON: the call itself has them.
    model_config = ConfigDict(extra="ignore")

    tool_call_id: ToolCallId
    text: str


_NAMED: Final = TypeAdapter(tuple[_Named, ...])


def answers_of(text: str, state: RunState) -> tuple[InteractiveAnswer, ...]:
    """Return the answers that `text` gives to questions of `state`, at least one of which waits.

    Raises:
        UsageError: the JSON answers nothing: a field is missing, or the number is not right.
        ConflictError: a question that it names does not wait for an answer.
    """
    waiting = state.pending_interactive
    given = _given(text, waiting)
    if len({id_ for id_, _ in given}) < len(given):
        raise UsageError("one question is answered twice", hint=_BY_NAME)
    for id_, said in given:
        if id_ not in waiting:
            raise ConflictError(f"call {id_} does not wait for an answer")
        check_length("an answer", said)
    calls = {call.tool_call_id: call for call in state.calls}
    return tuple(_answer(calls[id_], state.routes[id_].skill_name, said) for id_, said in given)


def check_length(what: str, text: str) -> None:
    """Refuse what is longer than a query may be.

    Raises:
        UsageError: it is longer than `QUERY_LENGTH` characters.
    """
    if len(text) > QUERY_LENGTH:
        raise UsageError(
            f"{what} may have up to {QUERY_LENGTH:,} characters, this has {len(text):,}",
            hint="put it into a file of the workspace, and say which",
        )


def _given(text: str, waiting: Sequence[ToolCallId]) -> list[tuple[ToolCallId, str]]:
    try:
        said: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    many: list[JsonValue] = said if isinstance(said, list) else [said]
    if many and all(isinstance(one, dict) and "toolCallId" in one for one in many):
        return _named(many)
    texts = [one for one in many if isinstance(one, str)]
    if not isinstance(said, list) or len(waiting) < 2 or not texts or len(texts) < len(many):
        return [(waiting[0], text)]
    if len(texts) != len(waiting):
        raise UsageError(f"{len(waiting)} questions wait, not {len(texts)}", hint=_BY_NAME)
    return list(zip(waiting, texts, strict=True))


def _named(many: list[JsonValue]) -> list[tuple[ToolCallId, str]]:
    try:
        return [(one.tool_call_id, one.text) for one in _NAMED.validate_python(many)]
    except ValidationError as error:
        raise UsageError("an answer in JSON needs toolCallId and text", hint=_BY_NAME) from error


def _answer(call: ToolCallPart, skill_name: str, text: str) -> InteractiveAnswer:
    return InteractiveAnswer(
        tool_call_id=call.tool_call_id, tool_name=call.tool_name, skill_name=skill_name, text=text
    )

"""What was made of each run's messages, kept so that a step converts only what it added."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from perstack.domain.ids import RunId
from perstack.domain.messages import Message

T = TypeVar("T")


@dataclass(slots=True)
class _Known(Generic[T]):
    messages: list[Message] = field(default_factory=list[Message])
    converted: list[T] = field(default_factory=list[T])


class Conversations(Generic[T]):
    """Converts a run's messages once each.

    A run's requests begin with the very same message objects; where they no longer do, the run
    is converted anew.
    """

    def __init__(self, convert: Callable[[Message], Iterable[T]]) -> None:
        self._convert = convert
        self._known: dict[RunId, _Known[T]] = {}

    def take(self, run_id: RunId, messages: Sequence[Message]) -> list[T]:
        """Return the converted messages; the list is the caller's."""
        known = self._known.get(run_id)
        if known is None or not _begins_with(messages, known.messages):
            known = self._known[run_id] = _Known[T]()
        for message in messages[len(known.messages) :]:
            known.converted.extend(self._convert(message))
            known.messages.append(message)
        return list(known.converted)

    def forget(self, run_id: RunId) -> None:
        """Drop what was kept for the run."""
        self._known.pop(run_id, None)


def _begins_with(messages: Sequence[Message], known: Sequence[Message]) -> bool:
    return len(known) <= len(messages) and all(map(operator.is_, known, messages))

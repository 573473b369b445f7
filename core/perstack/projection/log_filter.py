"""Which events `perstack log` shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from perstack.domain.events import event_id
from perstack.errors import UsageError
from perstack.ports.history import StoredRecord
from perstack.projection.perstack_batch import RUNTIME

ERRORS: Final = frozenset({"stopRunByError", "retry"})
TOOLS: Final = frozenset({"callTools", "resolveToolResults", "callInteractiveTool"})
DELEGATIONS: Final = frozenset({"callDelegate", "stopRunByDelegate"})

Record = dict[str, JsonValue]
_HEAD: Final = ("type", "id", "timestamp", "jobId", "runId", "seq", "expertKey", "stepNumber")
_STEP: Final = re.compile(r"\s*(>=|<=|>|<)?\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?")
_CONDITION: Final = re.compile(r"\s*((?:\.[^\s.=!<>]+)+)\s*(==|!=|>=|<=|>|<)\s*(.+?)\s*", re.DOTALL)
_FIELD: Final = re.compile(r"([^\[\]]+)((?:\[\d*\])*)")
_INDEX: Final = re.compile(r"\[(\d*)\]")


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What an event must be like: of one of `types` (any when empty), in the steps that pass."""

    types: frozenset[str] = frozenset()
    step: Callable[[int], bool] | None = None

    def passes(self, record: StoredRecord) -> bool:
        """Tell whether `record` is to be shown."""
        if self.types and record.type not in self.types:
            return False
        return self.step is None or self.step(record.step_number)


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of an event's JSON, as `--filter` gives it."""

    path: tuple[str | int | None, ...]
    operator: str
    wanted: JsonValue

    def __call__(self, record: Record) -> bool:
        """Tell whether `record` passes; one without the field never does."""
        reached = _reached(record, self.path)
        return any(_holds(value, self.operator, self.wanted) for value in reached)

    @property
    def needs_head_only(self) -> bool:
        """Whether what stands at the start of each record decides it."""
        return self.path[0] in _HEAD


def head_of(record: StoredRecord) -> Record:
    """Return what every event begins with in Perstack's JSON, without reading the event."""
    head: Record = {
        "type": record.type,
        "id": event_id(record.run_id, record.seq),
        "timestamp": record.timestamp,
        "jobId": record.job_id,
        "runId": record.run_id,
        "seq": record.seq,
    }
    if record.type not in RUNTIME:
        head |= {"expertKey": record.expert_key, "stepNumber": record.step_number}
    return head


def parse_steps(text: str) -> Callable[[int], bool]:
    """Return the test that `N`, `>N`, `>=N`, `<N`, `<=N` or `A-B` describes.

    Raises:
        UsageError: it is none of these.
    """
    found = _STEP.fullmatch(text)
    backwards = found is not None and found[3] is not None and int(found[2]) > int(found[3])
    if found is None or backwards or (found[1] and found[3]):
        raise UsageError(
            f"--step {text!r} is not usable", hint="write N, >N, >=N, <N, <=N or A-B, say 2-5"
        )
    low = int(found[2])
    if found[3] is not None:
        high = int(found[3])
        return lambda step: low <= step <= high
    return _comparison(found[1] or "==", low)


def parse_condition(text: str) -> Condition:
    """Return the test of an event's JSON that `.path.to[0].field[] op value` describes.

    `[]` is any element; a value is a number, `true`, `false`, a quoted string or bare text; a
    missing field never passes.

    Raises:
        UsageError: it is not of that form.
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--filter {text!r} is not usable", hint="write, for example, '.stepNumber > 1'"
        )
    return Condition(tuple(_path(found[1], text)), found[2], _value(found[3]))


def _comparison(operator: str, limit: int) -> Callable[[int], bool]:
    return lambda number: _holds(number, operator, limit)


def _path(text: str, whole: str) -> list[str | int | None]:
    """The way to a field: names, indices, and None for any element."""
    path: list[str | int | None] = []
    for part in text[1:].split("."):
        found = _FIELD.fullmatch(part)
        if found is None:
            raise UsageError(f"--filter {whole!r}: {part!r} is not a field")
        path.append(found[1])
        path += [int(index) if index else None for index in _INDEX.findall(found[2])]
    return path


def _value(text: str) -> JsonValue:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


def _reached(value: JsonValue, path: tuple[str | int | None, ...]) -> Iterator[JsonValue]:
    if not path:
        yield value
        return
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        if isinstance(value, dict) and step in value:
            yield from _reached(value[step], rest)
    elif isinstance(value, list):
        for item in value if step is None else value[step : step + 1]:
            yield from _reached(item, rest)


def _holds(value: JsonValue, operator: str, wanted: JsonValue) -> bool:
    if operator in ("==", "!="):
        same = value == wanted and isinstance(value, bool) == isinstance(wanted, bool)
        return same if operator == "==" else not same
    order = _order(value, wanted)
    if order is None:
        return False
    return {">": order > 0, ">=": order >= 0, "<": order < 0, "<=": order <= 0}[operator]


def _order(value: JsonValue, wanted: JsonValue) -> int | None:
    """How `value` compares; None when the two have no order."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return None
    if isinstance(value, int | float) and isinstance(wanted, int | float):
        return (value > wanted) - (value < wanted)
    if isinstance(value, str) and isinstance(wanted, str):
        return (value > wanted) - (value < wanted)
    return None

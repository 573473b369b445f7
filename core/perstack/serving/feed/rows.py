"""What rows of the shared tables, seen again and again, tell: a pure fold."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from pydantic import JsonValue
from pydantic.alias_generators import to_camel

from perstack.domain.moments import iso8601
from perstack.domain.reviews import ACTIVE
from perstack.ports.glimpses import Cell, Glimpse, GlimpseKind, Marks, Numbers

# A row's time is taken before it is written, and its writer may have to wait for others.
WINDOW_MS: Final = 10_000
REMEMBERED: Final = 30_000

Data = dict[str, JsonValue]
_Before = Mapping[str, Cell] | None
_RUNS: Final = frozenset({"job_id", "run_id"})
_FLAGS: Final = frozenset({"lost", "cost_partial"})
_WORKFLOW_ENDS: Final = {
    "completed": "workflow:complete",
    "failed": "workflow:error",
    "aborted": "workflow:error",
}
_LOOP_STATES: Final = {
    "fixing": ("review-loop:fix",),
    "approved": ("review-loop:approved", "review-loop:complete"),
    "max_iterations_reached": ("review-loop:complete",),
    "failed": ("review-loop:error",),
    "aborted": ("review-loop:aborted",),
}
_ENDS: Final = frozenset(_WORKFLOW_ENDS.values()).union(*_LOOP_STATES.values())


@dataclass(frozen=True, slots=True)
class Draft:
    """Something that happened, before it has its place in the feed. `at_ms` in Unix ms."""

    type: str
    at_ms: int
    data: Data


class Rows:
    """Remembers rows, and says what happened where one is new or another than it was.

    What is there at `begin` is not news. Of a row that was forgotten, or is older than the feed,
    only what it is now can be told.
    """

    def __init__(self, now_ms: int, numbers: Numbers) -> None:
        self._seen: OrderedDict[tuple[GlimpseKind, str], Mapping[str, Cell]] = OrderedDict()
        self._numbers: dict[GlimpseKind, int] = dict(numbers)
        self._since_ms = now_ms - WINDOW_MS
        self._running: set[str] = set()
        self._results: dict[str, int] = {}
        self._loops: set[str] = set()
        self._begun = False

    @property
    def marks(self) -> Marks:
        """How far was looked. Before the beginning it asks for what has to be known then."""
        return Marks(
            self._since_ms,
            self._since_ms if self._begun else 0,
            dict(self._numbers),
            {one: self._results.get(one, 0) for one in self._running},
            tuple(self._loops),
        )

    def begin(self, found: Sequence[Glimpse]) -> None:
        """Take in what is there already."""
        self._begun = True
        for one in found:
            self._remember(one)

    def take(self, found: Sequence[Glimpse], *, now_ms: int) -> list[Draft]:
        """Return what the rows that `marks` asked for tell. `now_ms`: when they were asked for."""
        numbers = dict(self._numbers)
        told: list[Draft] = []
        for one in _once(found):
            before = self._seen.get((one.kind, one.id))
            new = one.number > numbers.get(one.kind, 0)
            told += self._told(one, before, new=new, now_ms=now_ms)
            self._remember(one)
        self._since_ms = now_ms - WINDOW_MS
        # What ended with a result ended after it.
        return sorted(told, key=lambda draft: draft.type in _ENDS)

    def _remember(self, one: Glimpse) -> None:
        if one.kind == "phase":
            self._results[one.id] = max(self._results.get(one.id, 0), one.number + 1)
            return
        self._numbers[one.kind] = max(self._numbers.get(one.kind, 0), one.number)
        if one.kind in ("consensus", "review"):
            return
        at_work = {"workflow": self._running, "reviewLoop": self._loops}.get(one.kind)
        if at_work is not None:
            unended = one.cells["status"] in ("running", *ACTIVE)
            (at_work.add if unended else at_work.discard)(one.id)
        key = (one.kind, one.id)
        self._seen[key] = one.cells
        self._seen.move_to_end(key)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _told(self, one: Glimpse, before: _Before, *, new: bool, now_ms: int) -> list[Draft]:
        match one.kind:
            case "agent":
                types = _agent(one.cells, before, new=new)
            case "task":
                types = _task(one.cells, before, new=new)
            case "session":
                types = _session(one.cells, before, new=new)
            case "project" | "projectTask" | "spec":
                types = _project(one, before, new=self._made_lately(one))
            case "workflow":
                types = _workflow(one.cells, before, new=new)
            case "reviewLoop":
                types = _loop(one.cells, before, new=new)
            case "phase":
                fresh = one.number >= self._results.get(one.id, 0)
                return _phase(one, now_ms) if fresh else []
            case "review":
                return [_review(one, now_ms)] if new else []
            case "consensus":
                types = [f"consensus:checkpoint:{one.cells['event']}"] if new else []
        return [Draft(name, _when(one.cells, now_ms), _data(one, before)) for name in types]

    def _made_lately(self, one: Glimpse) -> bool:
        made = one.cells["created_at"]
        return isinstance(made, int) and made >= self._since_ms


def _once(found: Sequence[Glimpse]) -> Sequence[Glimpse]:
    """Return them without repetitions: a row can be both new and changed."""
    return list({(one.kind, one.id, one.number): one for one in found}.values())


def _agent(now: Mapping[str, Cell], before: _Before, *, new: bool) -> list[str]:
    status = now["status"]
    if before is None:
        later = [] if new and status in ("idle", "running") else [_agent_status(now)]
        return ["agent:spawned", *later] if new else later
    if _same(now, before):
        return []
    if (now["paused_at"] is None) != (before["paused_at"] is None):
        paused = now["paused_at"] is not None
        # What was paused and is stopped for good is not resumed.
        ended = not paused and status not in ("idle", "running")
        return [_agent_status(now)] if ended else ["agent:paused" if paused else "agent:resumed"]
    return [_agent_status(now) if status != before["status"] else "agent:progress"]


def _agent_status(now: Mapping[str, Cell]) -> str:
    if now["paused_at"] is not None:
        return "agent:paused"
    return "agent:stopped" if now["status"] == "stopped" else "agent:status"


def _task(now: Mapping[str, Cell], before: _Before, *, new: bool) -> list[str]:
    types = ["task:created"] if before is None and new else []
    if types and now["started_at"] is not None and now["status"] != "running":
        types.append("task:assigned")  # It was taken up since the last look, too.
    if before is not None and now["status"] == before["status"]:
        taken = now["agent_id"] not in (None, before["agent_id"])
        return ["task:assigned"] if taken and now["status"] == "running" else []
    match now["status"]:
        case "running":
            types.append("task:assigned")
        case "completed" | "failed":
            types.append(f"task:{now['status']}")
        case _:
            pass
    return types


def _session(now: Mapping[str, Cell], before: _Before, *, new: bool) -> list[str]:
    types = ["session:started"] if before is None and new else []
    if now["status"] != "active" and (before is None or before["status"] == "active"):
        types.append("session:ended")
    return types


def _project(one: Glimpse, before: _Before, *, new: bool) -> list[str]:
    if before is None and new:
        made = {"project": "project:created", "projectTask": "project:task:created"}
        return [made.get(one.kind, "spec:created")]
    if before is not None and _same(one.cells, before, counting_time=one.kind == "project"):
        return []
    if one.kind == "project":
        return ["project:updated"]
    name, cell = (
        ("project:task:phase", "phase") if one.kind == "projectTask" else ("spec:status", "status")
    )
    return [name] if before is None or before[cell] != one.cells[cell] else []


def _workflow(now: Mapping[str, Cell], before: _Before, *, new: bool) -> list[str]:
    status = str(now["status"])
    # A failed one that somebody goes on with runs again.
    again = before is not None and before["status"] != "running" and status == "running"
    types = ["workflow:start"] if again or (before is None and new) else []
    ended = status in _WORKFLOW_ENDS and (before is None or before["status"] == "running")
    return [*types, _WORKFLOW_ENDS[status]] if ended else types


def _loop(now: Mapping[str, Cell], before: _Before, *, new: bool) -> list[str]:
    types = ["review-loop:start"] if before is None and new else []
    if now["iteration"] != (0 if before is None else before["iteration"]):
        types.append("review-loop:iteration")
    if before is None or now["status"] != before["status"]:
        types += _LOOP_STATES.get(str(now["status"]), ())
    return types


def _phase(one: Glimpse, now_ms: int) -> list[Draft]:
    result = _parsed(one.cells["result"])
    findings = result.pop("findings", None)
    of: Data = {"runId": one.id, "phase": result.get("phase")}
    found = findings if isinstance(findings, list) else []
    shown: Data = {to_camel(k): v for k, v in result.items() if k != "artifacts"}
    told = [Draft("workflow:finding", now_ms, {**of, "finding": finding}) for finding in found]
    return [Draft("workflow:phase", now_ms, {**of, **shown, "findings": len(found)}), *told]


def _review(one: Glimpse, now_ms: int) -> Draft:
    review = _parsed(one.cells["review"])
    issues = review.get("issues")
    data: Data = {"loopId": one.id, "issues": len(issues) if isinstance(issues, list) else 0}
    for name in ("review_id", "iteration", "verdict", "job_id"):
        data[to_camel(name)] = review.get(name)
    return Draft("review-loop:review", now_ms, data)


def _parsed(cell: Cell) -> Data:
    try:
        found: object = json.loads(str(cell))
    except ValueError:
        return {}
    return cast("Data", found) if isinstance(found, dict) else {}


def _same(
    now: Mapping[str, Cell], before: Mapping[str, Cell], *, counting_time: bool = False
) -> bool:
    if counting_time:
        return now == before
    return all(now[name] == before[name] for name in now if name != "updated_at")


def _when(cells: Mapping[str, Cell], now_ms: int) -> int:
    """Return when the row last changed, as far as it says."""
    for name in ("updated_at", "completed_at", "ended_at", "started_at", "created_at"):
        at = cells.get(name)
        if isinstance(at, int):
            return min(at, now_ms)
    return now_ms


def _data(one: Glimpse, before: _Before) -> Data:
    data: Data = {"id": one.id}
    for name, cell in one.cells.items():
        shown: JsonValue = cell
        if name.endswith("_at") and isinstance(cell, int):
            shown = iso8601(cell)
        elif name in _FLAGS:
            shown = bool(cell)
        # No run: an empty text where a column may not be null.
        data[to_camel(name)] = None if shown == "" and name in _RUNS else shown
    for name in ("status", "phase"):
        was = None if before is None else before.get(name)
        if was is not None and was != one.cells.get(name):
            data[to_camel(f"previous_{name}")] = was
    return data

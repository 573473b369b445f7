"""For how long a job's runs worked, as their events tell it: for processes that were killed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from perstack.domain.events import (
    Event,
    InitializeRuntime,
    RequestApproval,
    RequestInput,
    ResolveApproval,
    ResolveInput,
    ResumeToolCalls,
    StartRun,
    StopRunByDelegate,
)
from perstack.domain.ids import ConsensusId

Span = tuple[int, int]


def working_spans(events: Sequence[Event], *, since: int) -> Iterator[Span]:
    """Yield when one run worked, from and to in Unix ms, none of it before `since`.

    Waiting for delegates or for a person is no work; what a killed process did after its last
    event left no trace.
    """
    begun: int | None = None
    last = 0
    waiting: set[ConsensusId] = set()
    for event in events:
        waits = _waits(event, waiting)
        if event.timestamp < since:
            continue
        last = event.timestamp
        if waits and begun is not None:
            yield begun, last
            begun = None
        elif begun is None and _begins(event):
            begun = last
    if begun is not None:
        yield begun, last


def covered_ms(spans: Iterable[Span]) -> int:
    """Return for how many milliseconds at least one of `spans` lasted."""
    total = reached = 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _begins(event: Event) -> bool:
    return isinstance(event.body, InitializeRuntime | StartRun | ResolveApproval | ResolveInput)


def _waits(event: Event, waiting: set[ConsensusId]) -> bool:
    """Tell whether the run waits after `event`; `waiting` are the decisions that are open."""
    match event.body:
        case RequestApproval() | RequestInput():
            waiting.add(event.body.consensus_id)
            return True
        case ResolveApproval() | ResolveInput():
            waiting.discard(event.body.consensus_id)
            return False
        case StopRunByDelegate():
            return True
        case ResumeToolCalls():
            return bool(waiting)
        case _:
            return False

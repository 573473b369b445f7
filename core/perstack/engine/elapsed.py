"""For how long a job's runs worked, as their events tell it: for processes that were killed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from perstack.domain.events import (
    Event,
    InitializeRuntime,
    RequestApproval,
    ResolveApproval,
    ResumeToolCalls,
    StartRun,
    StopRunByDelegate,
)
from perstack.domain.ids import ConsensusId
from perstack.domain.server_events import RequestInput, ResolveInput

Span = tuple[int, int]


@dataclass(slots=True)
class _Waiting:
    """What a run waits for: decisions about its calls, answers for its tool servers."""

    gates: set[ConsensusId] = field(default_factory=set[ConsensusId])
    inputs: set[ConsensusId] = field(default_factory=set[ConsensusId])


def working_spans(events: Sequence[Event], *, since: int) -> Iterator[Span]:
    """Yield when one run worked, from and to in Unix ms, none of it before `since`.

    Waiting for delegates or for a person is no work; what a killed process did after its last
    event left no trace.
    """
    begun: int | None = None
    last = 0
    waiting = _Waiting()
    for event in events:
        waits = _waits(event, waiting)
        if event.timestamp < since:
            continue
        last = event.timestamp
        if waits and begun is not None:
            yield begun, last
            begun = None
        elif begun is None and _begins(event) and not waiting.inputs:
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


def _waits(event: Event, waiting: _Waiting) -> bool:
    """Tell whether the run waits for somebody after `event`."""
    match event.body:
        case RequestApproval(consensus_id=asked):
            waiting.gates.add(asked)
            return True
        case RequestInput(consensus_id=asked):
            waiting.inputs.add(asked)
            return True
        case ResolveApproval(consensus_id=asked):
            waiting.gates.discard(asked)
            return False
        case ResolveInput(consensus_id=asked):
            waiting.inputs.discard(asked)
            return False
        case InitializeRuntime():
            # What servers asked of a process that was killed, nobody waits for any more.
            waiting.inputs.clear()
            return False
        case StopRunByDelegate():
            return True
        case ResumeToolCalls():
            return bool(waiting.gates)
        case _:
            return False

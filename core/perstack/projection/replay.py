"""Showing some records of a long history without making events of all the others.

What is shown of an event may follow from earlier ones: which calls a result answers, what a
checkpoint has cost so far. A record that nobody sees is held back until its step ends. Then only
what later steps may need is taken in, unless something of that step was to be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from perstack.domain.events import Event
from perstack.domain.ids import CheckpointId, RunId
from perstack.ports.history import StoredRecord

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

STEP_ENDS: Final = "continueToNextStep"
_BATCH_CLOSES: Final = frozenset({"finishToolCall", "finishAllToolCalls", "attemptCompletion"})
# These change nothing that is seen of later events.
ASIDE: Final = frozenset(
    {
        "skillStarting",
        "skillConnected",
        "skillStderr",
        "skillLog",
        "skillProgress",
        "skillDisconnected",
        "startGeneration",
        "resolveToolResults",
        "callDelegate",
        "callInteractiveTool",
        "resumeToolCalls",
    }
)
# Neither do these once the batch that they belong to is closed, but for the messages.
OF_A_BATCH: Final = ASIDE | {
    "toolReturned",
    "requestApproval",
    "resolveApproval",
    "requestInput",
    "resolveInput",
}


MAKES_CHECKPOINT: Final = frozenset(
    {
        STEP_ENDS,
        "suspendRun",
        "stopRunByDelegate",
        "stopRunByInteractiveTool",
        "stopRunByExceededMaxSteps",
        "stopRunByExceededBudget",
        "stopRunByError",
        "completeRun",
    }
)


class Projection(Protocol[T_co]):
    """Something that shows events and must be told of all that came before them."""

    def skip(self, event: Event) -> None:
        """Take in an event that is not to be shown."""
        ...

    def event(self, event: Event) -> T_co:
        """Take in an event and return what is shown of it."""
        ...


@dataclass(slots=True)
class _Held:
    """The records of a run's step that nobody asked for yet, and one from before it."""

    records: list[StoredRecord] = field(default_factory=list[StoredRecord])
    earlier: StoredRecord | None = None


class Replay(Generic[T]):
    """Feeds a projection with a job's records, in order within each run.

    `needed` tells which records of a step that was closed and not shown are taken in all the same.
    Of those that are not, the last for which `recalls` is true is taken in before something later
    is shown. All is taken in of what leads to one of `points`, which runs are forked from.
    """

    def __init__(
        self,
        projection: Projection[T],
        *,
        needed: Callable[[StoredRecord], bool],
        recalls: Callable[[StoredRecord], bool] | None = None,
        points: Set[CheckpointId] = frozenset(),
    ) -> None:
        self._projection = projection
        self._needed = needed
        self._recalls = recalls
        self._points = points
        self._runs: dict[RunId, _Held] = {}

    def skip(self, record: StoredRecord) -> None:
        """Take note of a record that is not to be shown."""
        held = self._runs.setdefault(record.run_id, _Held())
        held.records.append(record)
        if self._points and makes_one_of(record, self._points):
            self._take_in(held.records)
            held.records.clear()
        elif record.type == STEP_ENDS:
            self._let_go(held)

    def show(self, record: StoredRecord) -> T:
        """Return what is shown of a record.

        Raises:
            CorruptRecordError: it, or one that it follows from, is damaged.
        """
        held = self._runs.setdefault(record.run_id, _Held())
        if held.earlier is not None:
            self._projection.skip(held.earlier.event())
            held.earlier = None
        self._take_in(held.records)
        held.records.clear()
        return self._projection.event(record.event())

    def _let_go(self, held: _Held) -> None:
        if _is_closed(held.records):
            self._take_in([each for each in held.records if self._needed(each)])
            if self._recalls is not None:
                dropped = (each for each in reversed(held.records) if not self._needed(each))
                held.earlier = next(filter(self._recalls, dropped), held.earlier)
        else:
            self._take_in(held.records)
        held.records.clear()

    def _take_in(self, records: list[StoredRecord]) -> None:
        for record in records:
            self._projection.skip(record.event())


def makes_one_of(record: StoredRecord, checkpoint_ids: Set[CheckpointId]) -> bool:
    """Tell whether the record may make one of these checkpoints; its event says for sure."""
    return record.type in MAKES_CHECKPOINT and any(map(record.mentions, checkpoint_ids))


def _is_closed(records: list[StoredRecord]) -> bool:
    """Tell whether no call of these records' step is left open."""
    for record in reversed(records):
        if record.type in _BATCH_CLOSES:
            return True
        if record.type in ("callTools", "toolReturned"):
            return False
    return True

"""`perstack log` without its disk: which records of a job are shown, as lines of text or JSON.

Records come by once, in order. What is shown is written as it is found; the counts, which stand
before it in text and after it in JSON, are known at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Set
from dataclasses import dataclass

from perstack.domain.events import Event
from perstack.domain.ids import CheckpointId, RunId
from perstack.ports.history import StoredRecord
from perstack.projection.log_filter import Condition, LogFilter, head_of
from perstack.projection.log_header import LogSummary
from perstack.projection.log_text import EventLines
from perstack.projection.perstack_json import PerstackJson
from perstack.projection.perstack_parts import Json
from perstack.projection.replay import ASIDE, OF_A_BATCH, Replay, makes_one_of

_GAP = "--"


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Which events, and how much of them.

    `take` 0 means all. `context` is how many events around each are shown, too. Of `runs` events
    may be shown (None: of all), others only lead to them; `points` are the checkpoints that runs
    are forked from. `until` names the checkpoint that is asked about: its event is the last.
    """

    only: LogFilter
    condition: Condition | None = None
    take: int = 100
    offset: int = 0
    context: int = 0
    as_json: bool = False
    summary_only: bool = False
    verbose: bool = False
    messages: bool = False
    runs: Set[RunId] | None = None
    points: Set[CheckpointId] = frozenset()
    until: CheckpointId | None = None


class LogScan:
    """Takes a job's records, by time; what is shown of them goes to `write`, a line a call.

    An event is some lines of text, or one of JSON. `matched` counts what passes the filters,
    `shown` what is on the page, both without context. `checkpoint` is the one asked about.
    """

    def __init__(self, want: LogRequest, write: Callable[[str], None]) -> None:
        self.matched = 0
        self.shown = 0
        self.summary = LogSummary()
        self.checkpoint: Json | None = None
        self._want = want
        self._write = write
        self._replay = _replay(want)
        self._judge = _judge(want.points) if want.condition else None
        self._maker = _maker(want)
        self._before: deque[StoredRecord] = deque()
        self._after = 0
        self._passed_over = False

    @property
    def is_over(self) -> bool:
        """Whether nothing that follows can be shown or counted."""
        return self.checkpoint is not None

    def take(self, record: StoredRecord) -> None:
        """Take a record.

        Raises:
            CorruptRecordError: it is shown, or what is shown follows from it, and is damaged.
        """
        if self.is_over:
            return
        if self._want.until is not None:
            self._look_for_checkpoint(record, self._want.until)
        if self._want.runs is not None and record.run_id not in self._want.runs:
            self._replay.skip(record)
            if self._judge is not None:
                self._judge.skip(record)
        elif self._passes(record):
            self._match(record)
        else:
            self._beside(record)

    def _look_for_checkpoint(self, record: StoredRecord, wanted: CheckpointId) -> None:
        if not makes_one_of(record, {wanted}):
            self._maker.skip(record)
            return
        made = self._maker.show(record)
        if made is not None and made["id"] == wanted:
            self.checkpoint = made

    def _passes(self, record: StoredRecord) -> bool:
        condition, judge = self._want.condition, self._judge
        passes = self._want.only.passes(record)
        if condition is None or judge is None:
            return passes
        if condition.needs_head_only:
            return passes and condition(head_of(record))
        if not passes:
            judge.skip(record)
            return False
        return condition(judge.show(record))

    def _match(self, record: StoredRecord) -> None:
        want, number = self._want, self.matched
        self.matched += 1
        self.summary.add(record)
        if number < want.offset or (want.take and number >= want.offset + want.take):
            self._beside(record)
            return
        self.shown += 1
        if want.summary_only:
            return
        if self._passed_over and want.context and self.shown > 1 and not want.as_json:
            self._write(_GAP)
        self._passed_over = False
        while self._before:
            self._show(self._before.popleft())
        self._show(record)
        self._after = want.context

    def _beside(self, record: StoredRecord) -> None:
        """A record that is not on the page, but may stand near one that is."""
        if self._want.summary_only:
            return
        if self._after:
            self._after -= 1
            self._show(record)
        elif self._page_is_full:
            return
        else:
            self._before.append(record)
            if len(self._before) > self._want.context:
                self._pass_over(self._before.popleft())

    @property
    def _page_is_full(self) -> bool:
        return bool(self._want.take) and self.shown >= self._want.take

    def _pass_over(self, record: StoredRecord) -> None:
        self._passed_over = True
        self._replay.skip(record)

    def _show(self, record: StoredRecord) -> None:
        for line in self._replay.show(record):
            self._write(line)


class _JsonLines:
    """Perstack's JSON with a line for an event."""

    def __init__(self, records: PerstackJson) -> None:
        self._records = records
        self.skip = records.skip

    def event(self, event: Event) -> list[str]:
        return [self._records.event_line(event)]


def _replay(want: LogRequest) -> Replay[list[str]]:
    dropped = ASIDE if want.messages else OF_A_BATCH
    if want.as_json:
        records = PerstackJson(full=want.messages, points=want.points)
        return Replay(
            _JsonLines(records),
            needed=lambda record: record.type not in dropped,
            points=want.points,
        )
    return Replay(
        EventLines(verbose=want.verbose, messages=want.messages, points=want.points),
        needed=lambda record: want.messages and record.type not in dropped,
        recalls=_may_say,
        points=want.points,
    )


def _may_say(record: StoredRecord) -> bool:
    """Tell whether the model may have said what a completion later repeats."""
    return record.type == "callTools" and record.mentions('"textPart"')


def _judge(points: Set[CheckpointId]) -> Replay[Json]:
    return Replay(
        PerstackJson(full=False, points=points),
        needed=lambda record: record.type not in OF_A_BATCH,
        points=points,
    )


class _Checkpoints:
    """Perstack's JSON with the checkpoint that an event made as what is shown of it."""

    def __init__(self, records: PerstackJson) -> None:
        self.skip = records.skip
        self.event = records.checkpoint


def _maker(want: LogRequest) -> Replay[Json | None]:
    full = want.as_json or want.messages
    dropped = ASIDE if full else OF_A_BATCH
    return Replay(
        _Checkpoints(PerstackJson(full=full, points=want.points)),
        needed=lambda record: record.type not in dropped,
        points=want.points,
    )

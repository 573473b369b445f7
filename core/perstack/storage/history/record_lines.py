"""Reading runs a piece at a time, without making events of lines that nobody asks about.

A line's number, time, step and type stand at its start (see `codec`), so that is all that is
looked at while a log is searched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from operator import attrgetter
from pathlib import Path
from typing import Final

from pydantic import JsonValue, TypeAdapter, ValidationError

from perstack.domain.events import Event
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.errors import CorruptRecordError
from perstack.ports.history import RunIdentity
from perstack.storage.files import Files, explained
from perstack.storage.history.codec import decode, unseal
from perstack.storage.history.reading import Reader, corrupt, describe_damage

_PIECE_BYTES: Final = 512 * 1024
_LEAST_BYTES: Final = 64 * 1024
_ALL_PIECES_BYTES: Final = 8 * 1024 * 1024
_HEAD: Final = re.compile(
    rb'\{"seq":(\d{1,18}),"at":(-?\d{1,18}),"step":(\d{1,18}),"type":"([A-Za-z]{1,64})"'
)
_OBJECT: Final = TypeAdapter(dict[str, JsonValue])


class LineRecord:
    """A line of a run's log; see `StoredRecord`. `order_ms` never runs backwards within a run."""

    __slots__ = ("_line", "_run", "order_ms", "seq", "step_number", "timestamp", "type")

    def __init__(self, run: RunLines, line: bytes, head: re.Match[bytes], previous_ms: int) -> None:
        seq, at, step, type_ = head.groups()
        self._run = run
        self._line = line
        self.seq = int(seq)
        self.timestamp = int(at)
        self.step_number = int(step)
        self.type = type_.decode()
        self.order_ms = max(previous_ms, self.timestamp)

    @property
    def job_id(self) -> JobId:
        """The job."""
        return self._run.identity.job_id

    @property
    def run_id(self) -> RunId:
        """The run."""
        return self._run.identity.run_id

    @property
    def expert_key(self) -> ExpertKey:
        """The Expert that ran."""
        return self._run.identity.expert_key

    def event(self) -> Event:
        """Return the event.

        Raises:
            CorruptRecordError: the line is damaged; file and line are named.
        """
        try:
            return decode(self._line, self._run.identity)
        except CorruptRecordError as error:
            raise corrupt(self._run.path, self.seq, error.message) from error

    def peek(self) -> Mapping[str, JsonValue]:
        """Return the line's JSON.

        Raises:
            CorruptRecordError: it is no JSON object.
        """
        try:
            return _OBJECT.validate_json(self._line)
        except ValidationError as error:
            raise corrupt(self._run.path, self.seq, "it is no JSON object") from error

    def mentions(self, text: str) -> bool:
        """Tell whether the line holds these characters."""
        return text.encode() in self._line


class RunLines:
    """One run's log; iterate once. `damage` is known when that has come to the end."""

    def __init__(
        self, files: Files, path: Path, identity: RunIdentity, *, head: int, piece_bytes: int
    ) -> None:
        self.path = path
        self.identity = identity
        self.damage: str | None = None
        self._files = files
        self._head = head
        self._piece_bytes = piece_bytes
        self._count = 0
        self._latest_ms = 0

    def __iter__(self) -> Iterator[LineRecord]:
        # The last line may be torn, which is no error; so each waits until the next is seen.
        waiting: bytes | None = None
        rest = b""
        at = 0
        while piece := self._piece(at):
            at += len(piece)
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            for line in lines:
                if waiting is not None:
                    yield self._record(waiting)
                waiting = line
        torn_bytes = len(rest)
        if waiting is not None and unseal(waiting) is not None:
            yield self._record(waiting)
        elif waiting is not None:
            torn_bytes += len(waiting) + 1
        self.damage = describe_damage(
            self.identity.run_id, stored=self._count, torn_bytes=torn_bytes, head=self._head
        )

    def _piece(self, start: int) -> bytes:
        with explained("read", self.path):
            try:
                return self._files.read_piece(self.path, start=start, size=self._piece_bytes)
            except FileNotFoundError:
                return b""

    def _record(self, line: bytes) -> LineRecord:
        head = _HEAD.match(line)
        if head is None:
            raise corrupt(self.path, self._count, "it does not begin with seq, at, step and type")
        record = LineRecord(self, line, head, self._latest_ms)
        if record.seq != self._count:
            raise corrupt(self.path, self._count, f"it is record {record.seq}")
        self._count += 1
        self._latest_ms = record.order_ms
        return record


def open_runs(reader: Reader, job_id: JobId, run_ids: Sequence[RunId]) -> list[RunLines]:
    """Return the runs, ready to be read. What a run's end should be is noted now.

    Raises:
        NotFoundError: no such job or run.
        CorruptRecordError: the job's record or a run's setting is damaged.
    """
    heads = reader.job(job_id).heads
    room = _ALL_PIECES_BYTES // max(1, len(run_ids))
    opened: list[RunLines] = []
    for run_id in run_ids:
        setting = reader.setting(job_id, run_id)
        opened.append(
            RunLines(
                reader.files,
                reader.layout.events(job_id, run_id),
                RunIdentity(job_id, run_id, setting.expert_key),
                head=heads.get(run_id, -1),
                piece_bytes=min(_PIECE_BYTES, max(_LEAST_BYTES, room)),
            )
        )
    return opened


def merged(runs: Sequence[RunLines]) -> Iterator[LineRecord]:
    """Yield all records by time, within each run as recorded, whatever a clock did."""
    if len(runs) == 1:
        return iter(runs[0])
    return merge(*runs, key=attrgetter("order_ms"))

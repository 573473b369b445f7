"""Transcripts of long runs, read back from the history into files that only this process sees.

The history has no place for single entries: they are made by folding a run from its beginning.
That is done once, in a thread; what comes out is laid down in pieces, so that memory stays bounded
and any place is found again at once.
"""

from __future__ import annotations

import json
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import astuple
from pathlib import Path
from typing import IO, Final

import anyio
import anyio.to_thread
from pydantic import TypeAdapter

from perstack.domain.ids import JobId, RunId
from perstack.ports.history import History, StoredRecord
from perstack.projection.folding import Folds
from perstack.projection.transcript import Transcript
from perstack.projection.views import CallView, EntryView

PIECE: Final = 256
_KEPT: Final = 4
_OPEN: Final = 64
"""How many entries may still change: calls of one answer that have no result yet."""
_ROWS: Final = TypeAdapter(list[EntryView])
_FIELDS: Final = tuple(EntryView.__dataclass_fields__)
_CALL_FIELDS: Final = tuple(CallView.__dataclass_fields__)


class Spool:
    """The entries of one run as far as they were recorded when it was made."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._places: list[tuple[int, int]] = []
        self._rest: list[EntryView] = []
        self._folds = Folds(keep_messages=False)
        self._transcript = Transcript(keeps_all=True)
        self.count = 0

    def take(self, records: Iterable[StoredRecord]) -> None:
        """Fold records; to be called in a thread."""
        for record in records:
            event = record.event()
            before, after = self._folds.step(event)
            self._transcript.take(event, before, after)
            self._lay_down(self._transcript.take_away(keeping=PIECE + _OPEN))

    def end(self) -> None:
        """Lay down what is left."""
        self._lay_down(self._transcript.take_away(keeping=0))
        self._write(self._rest)
        self._rest = []

    def _lay_down(self, entries: Sequence[EntryView]) -> None:
        self.count += len(entries)
        self._rest += entries
        while len(self._rest) >= PIECE:
            self._write(self._rest[:PIECE])
            del self._rest[:PIECE]

    def _write(self, entries: Sequence[EntryView]) -> None:
        # ASCII, so that any character of a transcript, even half a pair, can be written.
        data = json.dumps([_row(entry) for entry in entries]).encode("ascii")
        self._places.append((self._file.tell(), len(data)))
        self._file.write(data)

    def read(self, first: int, count: int) -> list[EntryView]:
        """Return entries from number `first` on, at most `count`; to be called in a thread."""
        found: list[EntryView] = []
        for piece in range(first // PIECE, (first + count + PIECE - 1) // PIECE):
            if piece >= len(self._places):
                break
            at, length = self._places[piece]
            self._file.seek(at)
            found += _ROWS.validate_python(json.loads(self._file.read(length)))
        start = first % PIECE
        return found[start : start + count]

    def close(self) -> None:
        """Give the file back; nothing is left of it."""
        self._file.close()


class Transcripts:
    """The runs that were read back last."""

    def __init__(self, history: History, folder: Path) -> None:
        self._history = history
        self._folder = folder
        self._spools: OrderedDict[RunId, Spool] = OrderedDict()
        self._lock: anyio.Lock | None = None

    async def read(
        self, job_id: JobId, run_id: RunId, first: int, count: int
    ) -> Sequence[EntryView]:
        """Return entries from number `first` on, at most `count`.

        Raises:
            NotFoundError: there is no such job or run.
            CorruptRecordError: a record is damaged.
        """
        if self._lock is None:
            self._lock = anyio.Lock()
        async with self._lock:
            spool = self._spools.get(run_id)
            if spool is None or first >= spool.count:
                spool = await self._spooled(job_id, run_id)
            self._spools.move_to_end(run_id)
            return await anyio.to_thread.run_sync(spool.read, first, count)

    async def _spooled(self, job_id: JobId, run_id: RunId) -> Spool:
        old = self._spools.pop(run_id, None)
        if old is not None:
            old.close()
        spool = await anyio.to_thread.run_sync(Spool, self._folder)
        try:
            async with aclosing(self._history.read_records(job_id, [run_id])) as batches:
                async for batch in batches:
                    await anyio.to_thread.run_sync(spool.take, batch.records)
            await anyio.to_thread.run_sync(spool.end)
        except BaseException:
            spool.close()
            raise
        self._spools[run_id] = spool
        while len(self._spools) > _KEPT:
            self._spools.popitem(last=False)[1].close()
        return spool

    def close(self) -> None:
        """Give all files back."""
        for spool in self._spools.values():
            spool.close()
        self._spools.clear()


def _row(entry: EntryView) -> dict[str, object]:
    values = dict(zip(_FIELDS, astuple(entry), strict=True))
    if entry.call is not None:
        values["call"] = dict(zip(_CALL_FIELDS, astuple(entry.call), strict=True))
    return values

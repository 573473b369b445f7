"""Which snapshots there are: one line each, appended once all that it names is on the disk.

    {"n":0,"at":1790000000000,"point":"p1","full":"<digest>","crc":"0a1b2c3d"}
    {"n":1,"at":1790000000001,"point":"p2","set":{"a.txt":["f",420,3,"<digest>"]},"gone":[],...}

A line says how the files differ from those of the line before, or names a manifest in full once
all differences since the last together are as long: what is read to know one snapshot stays within
twice a manifest, what is stored within twice what changed.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from perstack.domain.snapshots import Entry, Mark
from perstack.errors import CorruptRecordError, NotFoundError
from perstack.storage.files import Files, explained, write_all
from perstack.storage.history.codec import seal, unseal
from perstack.storage.snapshots.lines import (
    Line,
    digests_in,
    entries_of,
    line_of,
    mark_of,
    members_of,
    object_of,
    row_of,
)

_T = TypeVar("_T")
_SMALLEST_FULL: Final = 16_384
_RESTORE: Final = "restore the file from a backup, or remove it: its snapshots are lost"
_TAIL: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class _Head:
    """What a line is of, and where it lies, in bytes; what it says is read when it is wanted."""

    mark: Mark
    full: str | None
    start: int
    end: int


class SnapshotIndex:
    """One index. All methods block; one writer at a time, any number of readers.

    What was read is not read again while the file only grows.
    """

    def __init__(
        self, files: Files, path: Path, put: Callable[[bytes], str], get: Callable[[str], bytes]
    ) -> None:
        self._files = files
        self._path = path
        self._put = put
        self._get = get
        self._last: dict[str, Entry] | None = None
        self._next = 0
        self._since_full = 0
        self._full_size = 0
        self._is_checked = False
        self._guard = threading.Lock()
        self._heads: list[_Head] = []
        self._inode = 0

    # ---------------------------------------------------------------- writing

    def with_note(self, members: bytes, note: object) -> bytes:
        """Return the members with a note, which may be any JSON."""
        return b"%b,%b" % (members, members_of({"note": note}))

    def prepare(self, manifest: Mapping[str, Entry] | None) -> bytes:
        """Return what is to be appended of this; stores the manifest if that is shorter.

        None: nothing has changed since the last line.

        Raises:
            OSError: the manifest could not be stored.
        """
        if manifest is None:
            return members_of({"set": {}, "gone": []})
        last = self._last
        if last is not None:
            changed = {
                path: row_of(entry)
                for path, entry in manifest.items()
                if (known := last.get(path)) is not entry and known != entry
            }
            delta = members_of({"set": changed, "gone": [p for p in last if p not in manifest]})
            self._last = dict(manifest)
            if self._since_full + len(delta) <= max(self._full_size, _SMALLEST_FULL):
                self._since_full += len(delta)
                return delta
        document = json.dumps(
            {path: row_of(entry) for path, entry in manifest.items()},
            sort_keys=True,
            separators=(",", ":"),
        ).encode()
        self._last = dict(manifest)
        self._since_full, self._full_size = 0, len(document)
        return members_of({"full": self._put(document)})

    def append(self, members: bytes, points: Sequence[str | None], *, at: int) -> None:
        """Append a line for each point, the first with these members; durable on return.

        Raises:
            StorageError: nothing was appended.
        """
        lines: list[bytes] = []
        with explained("write", self._path):
            fd = self._opened()
            try:
                for point in points or (None,):
                    head = members_of({"n": self._next + len(lines), "at": at, "point": point})
                    rest = members if not lines else members_of({"set": {}, "gone": []})
                    lines.append(seal(b"{%b,%b}" % (head, rest)) + b"\n")
                write_all(self._files, fd, b"".join(lines))
                self._files.sync(fd)
            finally:
                self._files.close(fd)
        self._next += len(lines)

    def forget(self) -> None:
        """Begin with a whole manifest again: what was prepared last may not have been appended."""
        self._last = None

    def append_why(self, why: str, points: Sequence[str | None], *, at: int) -> None:
        """Append that no snapshot was taken.

        Raises:
            StorageError: nothing was appended.
        """
        self.append(members_of({"set": {}, "gone": [], "why": why}), points, at=at)

    def _opened(self) -> int:
        is_new = not self._path.exists()
        fd = self._files.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        if is_new:
            self._files.sync_folder(self._path.parent)
        if not self._is_checked:
            heads = self._read_heads()
            good = heads[-1].end if heads else 0
            self._next = max(self._next, len(heads))
            if os.fstat(fd).st_size > good:  # the end of a process that was killed
                self._files.truncate(fd, good)
            self._is_checked = True
        return fd

    # ---------------------------------------------------------------- reading

    def marks(self) -> list[Mark]:
        """Return all, in order.

        Raises:
            CorruptRecordError: a line is damaged, other than by being cut off at the end.
        """
        return [head.mark for head in self._read_heads()]

    def last_taken(self) -> Mark | None:
        """Return the last mark that has files, None where there is none; reads only the end.

        Raises:
            CorruptRecordError: a line after it, or its own, is damaged.
        """
        with explained("read", self._path):
            try:
                size = self._path.stat().st_size
            except FileNotFoundError:
                return None
            piece = _TAIL
            while True:
                start = max(0, size - piece)
                data = self._files.read_piece(self._path, start=start, size=size - start)
                lines = data.split(b"\n")[0 if start == 0 else 1 : -1]
                for line in reversed(lines):
                    mark, _ = self._parsed(mark_of, line, None)
                    if mark.why is None:
                        return mark
                if start == 0:
                    return None
                piece *= 4

    def note(self) -> object:
        """Return the note of the first line, None where it has none.

        Raises:
            CorruptRecordError: the line is damaged.
        """
        heads = self._read_heads()
        if not heads:
            return None
        return self._parsed(object_of, self._piece(heads[0].start, heads[0].end - 1), 0).get("note")

    def manifest(self, number: int) -> dict[str, Entry]:
        """Return the files of a mark.

        Raises:
            NotFoundError: there is no such mark, or it says that there is no snapshot.
            CorruptRecordError: something that it needs is damaged.
        """
        heads = self._read_heads()
        if not 0 <= number < len(heads):
            raise NotFoundError(f"no snapshot {number} in {self._path}")
        if (why := heads[number].mark.why) is not None:
            raise NotFoundError(f"no snapshot was taken: {why}")
        first = number
        while heads[first].full is None:
            if first == 0:
                raise self._corrupt(0, "it names no manifest")
            first -= 1
        whole, *rest = self._lines(heads[first : number + 1])
        found = self._read_full(whole)
        for line in rest:
            found.update(line.changed)
            for path in line.gone:
                found.pop(path, None)
        return found

    def digests(self) -> Iterator[str]:
        """Yield every content that is named, manifests as well.

        Raises:
            CorruptRecordError: something is damaged, so that nobody knows what is named.
        """
        for line in self._lines(self._read_heads()):
            if line.full is not None:
                yield line.full
                yield from digests_in(self._read_full(line))
            yield from digests_in(line.changed)

    def _read_full(self, line: Line) -> dict[str, Entry]:
        try:
            return entries_of(json.loads(self._get(line.full or "")))
        except (ValueError, NotFoundError) as error:
            raise self._corrupt(line.mark.number, "its manifest cannot be read") from error

    def _read_heads(self) -> Sequence[_Head]:
        """Return the heads of all lines; only what was appended since is read.

        A last line without its end is that of a process that was killed: it says nothing.
        """
        with self._guard, explained("read", self._path):
            try:
                found = self._path.stat()
            except FileNotFoundError:
                self._heads, self._inode = [], 0
                return self._heads
            read_to = self._heads[-1].end if self._heads else 0
            if found.st_ino != self._inode or found.st_size < read_to:
                self._heads, self._inode, read_to = [], found.st_ino, 0
            if found.st_size == read_to:
                return self._heads
            data = self._files.read(self._path, start=read_to)
            start = 0
            while (end := data.find(b"\n", start)) >= 0:
                number = len(self._heads)
                mark, full = self._parsed(mark_of, data[start:end], number)
                if mark.number != number:
                    raise self._corrupt(number, "it has another number")
                self._heads.append(_Head(mark, full, read_to + start, read_to + end + 1))
                start = end + 1
            return self._heads

    def _lines(self, heads: Sequence[_Head]) -> Iterator[Line]:
        """Yield what these neighbours say, one read at a time."""
        at = 0
        while at < len(heads):
            start, first = heads[at].start, at
            while at < len(heads) and (at == first or heads[at].end - start <= _TAIL):
                at += 1
            data = self._piece(start, heads[at - 1].end)
            for head in heads[first:at]:
                line = data[head.start - start : head.end - start - 1]
                yield self._parsed(line_of, line, head.mark.number)

    def _piece(self, start: int, end: int) -> bytes:
        with explained("read", self._path):
            return self._files.read_piece(self._path, start=start, size=end - start)

    def _parsed(self, parse: Callable[[bytes], _T], line: bytes, number: int | None) -> _T:
        """Return what `parse` makes of an unsealed line, the `number`th where that is known."""
        try:
            document = unseal(line)
            if document is None:
                raise ValueError("the checksum does not fit")  # noqa: TRY301
            return parse(document)
        except (ValueError, KeyError, TypeError) as error:
            raise self._corrupt(number, str(error)) from error

    def _corrupt(self, number: int | None, why: str) -> CorruptRecordError:
        which = "one of the last lines" if number is None else f"line {number + 1}"
        return CorruptRecordError(f"{self._path}, {which} is damaged: {why}", hint=_RESTORE)

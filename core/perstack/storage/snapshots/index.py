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
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeGuard, TypeVar

from perstack.domain.ids import CheckpointId
from perstack.domain.snapshots import Entry, EntryKind, Manifest, Mark
from perstack.errors import CorruptRecordError, NotFoundError
from perstack.storage.files import Files, explained, write_all
from perstack.storage.history.codec import seal, unseal
from perstack.storage.snapshots.ignored import HISTORIES, NEVER
from perstack.storage.snapshots.walk import STORAGE

_T = TypeVar("_T")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LETTERS: Final[dict[str, EntryKind]] = {"f": "file", "l": "link", "d": "folder"}
_SMALLEST_FULL: Final = 16_384
_WHOLE_ROW: Final = 4
_RESTORE: Final = "restore the file from a backup, or remove it: its snapshots are lost"
_TAIL: Final = 1 << 16
# What a line begins with; of those that say nothing more of themselves, that is all that is parsed.
_HEAD: Final = re.compile(
    rb'\{"n":(\d{1,12}),"at":(\d{1,18}),"point":(?:null|"([^"\\]*)"),'
    rb'(?:"full":"([0-9a-f]{64})"\}|"set":\{")'
)


@dataclass(frozen=True, slots=True)
class _Line:
    mark: Mark
    full: str | None
    changed: Mapping[str, Entry]
    gone: tuple[str, ...]


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
        return b"%b,%b" % (members, _members({"note": note}))

    def prepare(self, manifest: Mapping[str, Entry] | None) -> bytes:
        """Return what is to be appended of this; stores the manifest if that is shorter.

        None: nothing has changed since the last line.

        Raises:
            OSError: the manifest could not be stored.
        """
        if manifest is None:
            return _members({"set": {}, "gone": []})
        last = self._last
        if last is not None:
            changed = {
                path: _row(entry)
                for path, entry in manifest.items()
                if (known := last.get(path)) is not entry and known != entry
            }
            delta = _members({"set": changed, "gone": [p for p in last if p not in manifest]})
            self._last = dict(manifest)
            if self._since_full + len(delta) <= max(self._full_size, _SMALLEST_FULL):
                self._since_full += len(delta)
                return delta
        document = json.dumps(
            {path: _row(entry) for path, entry in manifest.items()},
            sort_keys=True,
            separators=(",", ":"),
        ).encode()
        self._last = dict(manifest)
        self._since_full, self._full_size = 0, len(document)
        return _members({"full": self._put(document)})

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
                    head = _members({"n": self._next + len(lines), "at": at, "point": point})
                    rest = members if not lines else _members({"set": {}, "gone": []})
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
        self.append(_members({"set": {}, "gone": [], "why": why}), points, at=at)

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
                    mark, _ = self._parsed(_mark_of, line, None)
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
        return self._parsed(_object, self._piece(heads[0].start, heads[0].end - 1), 0).get("note")

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
                yield from _digests(self._read_full(line))
            yield from _digests(line.changed)

    def _read_full(self, line: _Line) -> dict[str, Entry]:
        try:
            return _entries(json.loads(self._get(line.full or "")))
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
                mark, full = self._parsed(_mark_of, data[start:end], number)
                if mark.number != number:
                    raise self._corrupt(number, "it has another number")
                self._heads.append(_Head(mark, full, read_to + start, read_to + end + 1))
                start = end + 1
            return self._heads

    def _lines(self, heads: Sequence[_Head]) -> Iterator[_Line]:
        """Yield what these neighbours say, one read at a time."""
        at = 0
        while at < len(heads):
            start, first = heads[at].start, at
            while at < len(heads) and (at == first or heads[at].end - start <= _TAIL):
                at += 1
            data = self._piece(start, heads[at - 1].end)
            for head in heads[first:at]:
                line = data[head.start - start : head.end - start - 1]
                yield self._parsed(_line_of, line, head.mark.number)

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


def _members(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()[1:-1]


def _row(entry: Entry) -> list[object]:
    letter = {"file": "f", "link": "l", "folder": "d"}[entry.kind]
    if entry.why is not None:
        return [letter, entry.mode, entry.size, None, entry.why]
    return [letter, entry.mode, entry.size, entry.target if letter == "l" else entry.digest]


def _mark_of(document: bytes) -> tuple[Mark, str | None]:
    """Return a line's mark and the manifest that it names, if it names one."""
    head = _HEAD.match(document)
    if head is None:
        line = _line_of(document)
        return line.mark, line.full
    point = None if head[3] is None else CheckpointId(head[3].decode())
    full = None if head[4] is None else head[4].decode()
    return Mark(int(head[1]), int(head[2]), point), full


def _object(document: bytes) -> dict[str, object]:
    found: object = json.loads(document)
    if not _is_object(found):
        raise TypeError("it is no object")
    return found


def _line_of(document: bytes) -> _Line:
    found = _object(document)
    number, at, point, why, full = (found.get(key) for key in ("n", "at", "point", "why", "full"))
    if not isinstance(number, int) or not isinstance(at, int):
        raise TypeError("it has no number or no time")
    if full is not None and not _is_digest(full):
        raise ValueError("its manifest has no name")
    if not isinstance(point, str | None) or not isinstance(why, str | None):
        raise TypeError("its point is no text")
    gone = found.get("gone", [])
    if not _is_list(gone):
        raise TypeError("gone is no list")
    return _Line(
        mark=Mark(number, at, None if point is None else CheckpointId(point), why),
        full=full,
        changed=_entries(found.get("set", {})),
        gone=tuple(str(each) for each in gone),
    )


def _entries(found: object) -> dict[str, Entry]:
    if not _is_object(found):
        raise TypeError("it holds no files")
    entries = {path: _entry(row) for path, row in found.items()}
    for path, entry in entries.items():
        if not _is_inside(path, entry):
            raise ValueError("a path is not of a workspace")
    return entries


def _is_inside(path: str, entry: Entry) -> bool:
    """Tell whether a path leads nowhere but into a workspace: what is put back follows it."""
    parts = path.split("/")
    if "\0" in path or parts[0] == STORAGE or not {"", ".", ".."}.isdisjoint(parts):
        return False
    return NEVER.isdisjoint(parts[:-1]) and not (parts[-1] in HISTORIES and entry.is_stored)


def _entry(row: object) -> Entry:
    if not _is_list(row) or len(row) < _WHOLE_ROW:
        raise TypeError("a file has no description")
    letter, mode, size, what, *rest = row
    kind = _LETTERS[str(letter)]
    if not isinstance(mode, int) or not isinstance(size, int):
        raise TypeError("a file has no mode or no size")
    if rest:
        return Entry(kind, mode & 0o777, size, why=str(rest[0]))
    if kind == "link":
        return Entry(kind, mode & 0o777, size, target=str(what))
    if kind == "folder":
        return Entry(kind, mode & 0o777, size)
    if not _is_digest(what):
        raise ValueError("a file has no content")
    return Entry(kind, mode & 0o777, size, digest=what)


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)  # of JSON: its keys are texts


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _is_digest(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _digests(manifest: Manifest) -> Iterator[str]:
    return (entry.digest for entry in manifest.values() if entry.digest is not None)

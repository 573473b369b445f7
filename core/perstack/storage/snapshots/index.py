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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeGuard

from perstack.domain.ids import CheckpointId
from perstack.domain.snapshots import Entry, EntryKind, Manifest, Mark
from perstack.errors import CorruptRecordError, NotFoundError
from perstack.storage.files import Files, explained, write_all
from perstack.storage.history.codec import seal, unseal
from perstack.storage.snapshots.ignored import HISTORIES, NEVER
from perstack.storage.snapshots.walk import STORAGE

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LETTERS: Final[dict[str, EntryKind]] = {"f": "file", "l": "link", "d": "folder"}
_SMALLEST_FULL: Final = 16_384
_WHOLE_ROW: Final = 4
_RESTORE: Final = "restore the file from a backup, or remove it: its snapshots are lost"


@dataclass(frozen=True, slots=True)
class _Line:
    mark: Mark
    full: str | None
    changed: Mapping[str, Entry]
    gone: tuple[str, ...]
    size: int


class SnapshotIndex:
    """One index. All methods block; one writer at a time, any number of readers."""

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
        self._good_bytes: int | None = None

    # ---------------------------------------------------------------- writing

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
        if self._good_bytes is None:
            lines = list(self._lines())
            self._good_bytes = sum(line.size for line in lines)
            self._next = max(self._next, len(lines))
            if os.fstat(fd).st_size > self._good_bytes:  # the end of a process that was killed
                self._files.truncate(fd, self._good_bytes)
        return fd

    # ---------------------------------------------------------------- reading

    def marks(self) -> list[Mark]:
        """Return all, in order.

        Raises:
            CorruptRecordError: a line before the last one is damaged.
        """
        return [line.mark for line in self._lines()]

    def manifest(self, number: int) -> dict[str, Entry]:
        """Return the files of a mark.

        Raises:
            NotFoundError: there is no such mark, or it says that there is no snapshot.
            CorruptRecordError: something that it needs is damaged.
        """
        lines = list(self._lines())
        if not 0 <= number < len(lines):
            raise NotFoundError(f"no snapshot {number} in {self._path}")
        if (why := lines[number].mark.why) is not None:
            raise NotFoundError(f"no snapshot was taken: {why}")
        first = number
        while lines[first].full is None:
            if first == 0:
                raise self._corrupt(0, "it names no manifest")
            first -= 1
        found = self._read_full(lines[first])
        for line in lines[first + 1 : number + 1]:
            found.update(line.changed)
            for path in line.gone:
                found.pop(path, None)
        return found

    def digests(self) -> Iterator[str]:
        """Yield every content that is named, manifests as well.

        Raises:
            CorruptRecordError: something is damaged, so that nobody knows what is named.
        """
        for line in self._lines():
            if line.full is not None:
                yield line.full
                yield from _digests(self._read_full(line))
            yield from _digests(line.changed)

    def _read_full(self, line: _Line) -> dict[str, Entry]:
        try:
            return _entries(json.loads(self._get(line.full or "")))
        except (ValueError, NotFoundError) as error:
            raise self._corrupt(line.mark.number, "its manifest cannot be read") from error

    def _lines(self) -> Iterator[_Line]:
        with explained("read", self._path):
            try:
                data = self._files.read(self._path)
            except FileNotFoundError:
                return
        start = number = 0
        while (end := data.find(b"\n", start)) >= 0:
            document = unseal(data[start:end])
            try:
                if document is None:
                    raise ValueError("the checksum does not fit")  # noqa: TRY301
                line = _line(json.loads(document), number, end + 1 - start)
            except (ValueError, KeyError, TypeError) as error:
                if end + 1 == len(data) and document is None:
                    return
                raise self._corrupt(number, str(error)) from error
            yield line
            start, number = end + 1, number + 1

    def _corrupt(self, number: int, why: str) -> CorruptRecordError:
        return CorruptRecordError(
            f"{self._path}, line {number + 1} is damaged: {why}", hint=_RESTORE
        )


def _members(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()[1:-1]


def _row(entry: Entry) -> list[object]:
    letter = {"file": "f", "link": "l", "folder": "d"}[entry.kind]
    if entry.why is not None:
        return [letter, entry.mode, entry.size, None, entry.why]
    return [letter, entry.mode, entry.size, entry.target if letter == "l" else entry.digest]


def _line(found: object, number: int, size: int) -> _Line:
    if not _is_object(found):
        raise TypeError("it is no object")
    at, point, why, full = (found.get(key) for key in ("at", "point", "why", "full"))
    if found.get("n") != number or not isinstance(at, int):
        raise ValueError("it has no number or no time")
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
        size=size,
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

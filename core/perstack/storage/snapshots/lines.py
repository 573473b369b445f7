"""What the lines of an index of snapshots say, checked: nobody but us may have written them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeGuard

from perstack.domain.ids import CheckpointId
from perstack.domain.snapshots import Entry, EntryKind, Manifest, Mark
from perstack.storage.snapshots.ignored import HISTORIES, NEVER
from perstack.storage.snapshots.walk import STORAGE

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LETTERS: Final[dict[str, EntryKind]] = {"f": "file", "l": "link", "d": "folder"}
_WHOLE_ROW: Final = 4
# What a line begins with; of those that say nothing more of themselves, that is all that is parsed.
_HEAD: Final = re.compile(
    rb'\{"n":(\d{1,12}),"at":(\d{1,18}),"point":(?:null|"([^"\\]*)"),'
    rb'(?:"full":"([0-9a-f]{64})"\}|"set":\{")'
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line whole: `full` names a manifest, or else it says what changed since the line before."""

    mark: Mark
    full: str | None
    changed: Mapping[str, Entry]
    gone: tuple[str, ...]


def members_of(members: Mapping[str, object]) -> bytes:
    """Return the members of a JSON object, without its braces."""
    return json.dumps(members, separators=(",", ":")).encode()[1:-1]


def row_of(entry: Entry) -> list[object]:
    """Return what a line says of an entry."""
    letter = {"file": "f", "link": "l", "folder": "d"}[entry.kind]
    if entry.why is not None:
        return [letter, entry.mode, entry.size, None, entry.why]
    return [letter, entry.mode, entry.size, entry.target if letter == "l" else entry.digest]


def mark_of(document: bytes) -> tuple[Mark, str | None]:
    """Return a line's mark and the manifest that it names, if it names one."""
    head = _HEAD.match(document)
    if head is None:
        line = line_of(document)
        return line.mark, line.full
    point = None if head[3] is None else CheckpointId(head[3].decode())
    full = None if head[4] is None else head[4].decode()
    return Mark(int(head[1]), int(head[2]), point), full


def object_of(document: bytes) -> dict[str, object]:
    """Return an unsealed line.

    Raises:
        ValueError, TypeError: it is no JSON object.
    """
    found: object = json.loads(document)
    if not _is_object(found):
        raise TypeError("it is no object")
    return found


def line_of(document: bytes) -> Line:
    """Return what an unsealed line says.

    Raises:
        ValueError, KeyError, TypeError: it is no line of ours, or names what is of no workspace.
    """
    found = object_of(document)
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
    return Line(
        mark=Mark(number, at, None if point is None else CheckpointId(point), why),
        full=full,
        changed=entries_of(found.get("set", {})),
        gone=tuple(str(each) for each in gone),
    )


def entries_of(found: object) -> dict[str, Entry]:
    """Return the entries of a manifest.

    Raises:
        ValueError, KeyError, TypeError: it is none, or names what is of no workspace.
    """
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


def digests_in(manifest: Manifest) -> Iterator[str]:
    """Yield the contents that a manifest names."""
    return (entry.digest for entry in manifest.values() if entry.digest is not None)

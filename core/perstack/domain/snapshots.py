"""The files of a workspace as they were at a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from perstack.domain.ids import CheckpointId

if TYPE_CHECKING:
    from perstack.domain.settings import SnapshotSettings

EntryKind = Literal["file", "link", "folder"]
LARGE: Final = "too large"
IGNORED: Final = "ignored"
EXCLUDED: Final = "excluded"


@dataclass(frozen=True, slots=True)
class Entry:
    """What was at a path. `mode` are permission bits, `size` bytes.

    A file's content is found by its `digest` (SHA-256), a link's `target` is what it says; a
    folder is an entry where nothing else in it is. What has a `why` is listed only:
    nothing of it was stored, and that is the reason.
    """

    kind: EntryKind
    mode: int = 0
    size: int = 0
    digest: str | None = None
    target: str | None = None
    why: str | None = None

    @property
    def is_stored(self) -> bool:
        """Whether it can be put back."""
        return self.why is None


# By path: relative, with "/", bytes that are no UTF-8 as half surrogates (`os.fsdecode`).
Manifest = Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Mark:
    """That a snapshot was taken: the `number`th of its index, at `at` (Unix ms).

    `point` is the checkpoint that it shows the files of, None for those before a job's first
    write. `why` says why there is none after all.
    """

    number: int
    at: int
    point: CheckpointId | None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """A folder's files as they were kept outside any job, and by which settings."""

    folder: Path
    files: Manifest
    settings: SnapshotSettings


@dataclass(frozen=True, slots=True)
class FileChanges:
    """How one manifest differs from another, sorted."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.modified)


def changes(before: Manifest, after: Manifest) -> FileChanges:
    """Return how files and links differ; folders without files are no matter."""
    old, new = _contents(before), _contents(after)
    return FileChanges(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        modified=tuple(sorted(path for path in old.keys() & new.keys() if old[path] != new[path])),
    )


def _contents(manifest: Manifest) -> dict[str, Entry]:
    # A folder that is listed only (`node_modules`) says nothing of what lies in it.
    return {path: entry for path, entry in manifest.items() if entry.kind != "folder"}

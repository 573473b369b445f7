"""What is told of folders that a server shows."""

from __future__ import annotations

from typing import Literal

from perstack.domain.base import Model

EntryKind = Literal["directory", "file", "link", "other"]


class Root(Model):
    """A folder that is shown, with all that is below it."""

    name: str
    path: str


class FolderEntry(Model):
    """What lies in a folder. A link is told as one, wherever it leads."""

    name: str
    path: str
    type: EntryKind


class Folder(Model):
    """A folder and what lies in it, folders first. `truncated`: there is more."""

    path: str
    parent: str | None
    name: str
    entries: tuple[FolderEntry, ...]
    truncated: bool


class PathReport(Model):
    """Whether a path is a folder that can be worked in, and if not, why."""

    valid: bool
    path: str
    exists: bool
    is_directory: bool
    readable: bool
    writable: bool
    errors: tuple[str, ...]


class Above(Model):
    """Where a path lies. `parent` None: it is a root."""

    path: str
    parent: str | None
    is_root: bool

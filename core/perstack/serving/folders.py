"""Folders that a server shows: the roots that were allowed, and nothing outside of them.

Every path is walked by `skills.base.paths`, component by component and without the kernel following
a link, so that what was checked is what is looked at. What is outside is refused in the same words
whether it is there or not; so is the folder where the history is kept.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perstack.config.trust import leads_out
from perstack.domain.folder_views import Above, EntryKind, Folder, FolderEntry, PathReport, Root
from perstack.errors import DeniedError, NotFoundError, UsageError
from perstack.skills.base.failure import ToolFailure
from perstack.skills.base.paths import Place, Workspace

MOST_ENTRIES: Final = 1_000
# So many names are looked at at most: a folder may hold millions.
MOST_READ: Final = 20_000
HOME: Final = "home"
MISSING: Final = ("NotFound", "NotADirectory")
REFUSED: Final = "Access denied: the path is outside of the folders that this server shows"
HINT: Final = "GET /api/v1/filesystem/roots lists them; [server] filesystemRoots sets them"


@dataclass(frozen=True, slots=True)
class _Found:
    """A place, and the root that it was reached from."""

    workspace: Workspace
    place: Place

    @property
    def path(self) -> str:
        root = self.workspace.path
        return str(root if self.place.is_root else root / self.place.relative)

    @property
    def parent(self) -> str | None:
        return None if self.place.is_root else str(Path(self.path).parent)


class Folders:
    """Looks at folders below `roots`; relative ones are those of `workspace`. All of it blocks.

    A root that is not there, or is no folder, is none; nor is one that is written as if it lay in
    the workspace (so that nobody had to accept it) and leads out of it through a link.
    """

    def __init__(self, workspace: Path, roots: Sequence[str]) -> None:
        self._workspace = workspace
        self._roots = tuple(dict.fromkeys(roots)) or (".",)

    def roots(self) -> tuple[Root, ...]:
        """Return the folders that are shown."""
        found: list[Root] = []
        for root in self._roots:
            with self._opened(root) as workspace:
                if workspace is not None:
                    path = workspace.path
                    found.append(Root(name=path.name or str(path), path=str(path)))
        return tuple(found)

    def browse(
        self, path: str = HOME, *, show_hidden: bool = False, show_files: bool = True
    ) -> Folder:
        """Return what lies in a folder; "home" is the first root.

        Raises:
            DeniedError: it is outside of the roots.
            NotFoundError: it is not there.
            UsageError: it is no folder, or cannot be read.
        """
        with self._located(path) as found:
            if not found.place.is_directory:
                raise UsageError("The path is no folder")
            try:
                listed, more = _listed(found, show_hidden=show_hidden, show_files=show_files)
            except OSError as error:
                raise UsageError(f"The folder cannot be read: {error.strerror}") from error
            return Folder(
                path=found.path,
                parent=found.parent,
                name=Path(found.path).name or found.path,
                entries=listed,
                truncated=more,
            )

    def validate(self, path: str) -> PathReport:
        """Say whether a path is a folder that can be read and written.

        Raises:
            DeniedError: it is outside of the roots.
        """
        try:
            with self._located(path) as found:
                return _report(found)
        except NotFoundError as error:
            return PathReport(
                valid=False,
                path=path,
                exists=False,
                is_directory=False,
                readable=False,
                writable=False,
                errors=(error.message,),
            )

    def above(self, path: str) -> Above:
        """Say where a path lies.

        Raises:
            DeniedError: it is outside of the roots.
            NotFoundError: it is not there.
        """
        with self._located(path) as found:
            return Above(path=found.path, parent=found.parent, is_root=found.place.is_root)

    @contextmanager
    def _located(self, path: str) -> Generator[_Found]:
        missing = False
        for root in self._roots:
            with self._opened(root) as workspace:
                if workspace is None:
                    continue
                try:
                    located = workspace.locate("." if path == HOME else path, follow=True)
                    with located as place:
                        if place.found is not None:
                            yield _Found(workspace, place)
                            return
                        missing = True
                except ToolFailure as failure:
                    missing = missing or failure.name in MISSING
        if missing:
            raise NotFoundError("The path does not exist")
        raise DeniedError(REFUSED, hint=HINT)

    @contextmanager
    def _opened(self, root: str) -> Generator[Workspace | None]:
        """Open a root; None for one that is not to be shown."""
        try:
            opened = Workspace(self._workspace / root)
        except (OSError, ValueError):
            yield None
            return
        try:
            yield opened if leads_out(root) or self._is_within(opened.path) else None
        finally:
            opened.close()

    def _is_within(self, real: Path) -> bool:
        return real.is_relative_to(self._workspace.resolve())


def _listed(
    found: _Found, *, show_hidden: bool, show_files: bool
) -> tuple[tuple[FolderEntry, ...], bool]:
    """Return the entries, folders first and then by name, and whether there are more."""
    entries: list[FolderEntry] = []
    more = False
    descriptor = found.place.open(os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as names:
            for number, one in enumerate(names):
                if number >= MOST_READ:
                    more = True
                    break
                if one.name.startswith(".") and not show_hidden:
                    continue
                entry = _entry(found, one)
                if show_files or entry.type == "directory":
                    entries.append(entry)
    finally:
        os.close(descriptor)
    entries.sort(key=lambda one: (one.type != "directory", one.name.casefold(), one.name))
    return tuple(entries[:MOST_ENTRIES]), more or len(entries) > MOST_ENTRIES


def _entry(found: _Found, one: os.DirEntry[str]) -> FolderEntry:
    # A name that is no text can be shown, but not asked for.
    name = os.fsencode(one.name).decode("utf-8", "replace")
    return FolderEntry(name=name, path=f"{found.path.rstrip('/')}/{name}", type=_kind(one))


def _kind(one: os.DirEntry[str]) -> EntryKind:
    if one.is_symlink():
        return "link"
    if one.is_dir(follow_symlinks=False):
        return "directory"
    return "file" if one.is_file(follow_symlinks=False) else "other"


def _report(found: _Found) -> PathReport:
    place = found.place
    readable, writable = place.may(os.R_OK), place.may(os.W_OK)
    errors = [
        said
        for wrong, said in (
            (not place.is_directory, "The path is no folder"),
            (not readable, "The path cannot be read"),
            (not writable, "The path cannot be written"),
        )
        if wrong
    ]
    return PathReport(
        valid=not errors,
        path=found.path,
        exists=True,
        is_directory=place.is_directory,
        readable=readable,
        writable=writable,
        errors=tuple(errors),
    )

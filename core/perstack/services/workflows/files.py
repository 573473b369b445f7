"""The documents and sources of a workspace: bounded, and never out of it.

Everything here blocks: call it in a worker thread.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from perstack.errors import UsageError

MAX_DOCUMENTS: Final = 2_000
MAX_DOCUMENT_BYTES: Final = 1_000_000
MAX_SOURCES: Final = 100_000
MAX_DEPTH: Final = 40

_DOCUMENTS: Final = (".md", ".mdx")
_SOURCES: Final = (".ts", ".js", ".py", ".go", ".rs", ".java", ".tsx", ".jsx")
_LEFT_OUT: Final = frozenset({"node_modules", "dist", "__pycache__"})
_OWN: Final = "perstack"


@dataclass(frozen=True, slots=True)
class Found:
    """Files by their path relative to the workspace, in order. `cut`: there were more."""

    paths: tuple[str, ...]
    cut: bool


class Files:
    """The documents below `docs` and the sources below `src`, both inside of `workspace`.

    Symbolic links are not followed, wherever they lead. Folders that are hidden, generated or
    Perstack's own, at the top of the workspace, are left out.

    Raises:
        UsageError: `docs` or `src` lies outside of the workspace.
    """

    def __init__(self, workspace: Path, docs: str, src: str) -> None:
        self.workspace = workspace.resolve()
        self.docs = self._inside(docs)
        self.src = self._inside(src)

    def documents(self) -> Found | None:
        """Return the documents; None when their folder, or the one document, is not there."""
        if self.docs.is_file() and self.docs.name.lower().endswith(_DOCUMENTS):
            return Found((self._relative(self.docs),), cut=False)
        if not self.docs.is_dir():
            return None
        return self._walk(self.docs, _DOCUMENTS, MAX_DOCUMENTS)

    def sources(self) -> Found:
        """Return the source files; none when their folder is not there."""
        return self._walk(self.src, _SOURCES, MAX_SOURCES)

    def read(self, path: str) -> str | None:
        """Return a document's text; None when it is gone, no plain file or too large."""
        try:
            place = self._inside(path)
            handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, UsageError, ValueError):
            return None
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            content = file.read(MAX_DOCUMENT_BYTES + 1)
        return None if len(content) > MAX_DOCUMENT_BYTES else content.decode("utf-8", "replace")

    def is_there(self, target: str, *, document: str) -> bool:
        """Say whether a file is there that a document names: from its folder, or from the top."""
        below = PurePosixPath(document).parent
        top = self.src.relative_to(self.workspace)
        wanted = target.lstrip("/")
        starts = (below, PurePosixPath("."), PurePosixPath(top.as_posix()))
        return any(self._exists(str(start / wanted)) for start in starts)

    def _exists(self, path: str) -> bool:
        try:
            return self._inside(path).exists()
        except (OSError, UsageError, ValueError):
            return False

    def _inside(self, path: str) -> Path:
        try:
            place = (self.workspace / path).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(f"the path {path[:100]!a} cannot be used") from error
        if not place.is_relative_to(self.workspace):
            raise UsageError(
                f"{path[:100]!a} lies outside of the workspace", hint="name a folder within it"
            )
        return place

    def _relative(self, place: Path) -> str:
        return place.relative_to(self.workspace).as_posix()

    def _walk(self, top: Path, endings: tuple[str, ...], most: int) -> Found:
        paths: list[str] = []
        for path in self._files(top, endings, 0):
            if len(paths) == most:
                return Found(tuple(sorted(paths)), cut=True)
            paths.append(path)
        return Found(tuple(sorted(paths)), cut=False)

    def _files(self, folder: Path, endings: tuple[str, ...], depth: int) -> Iterator[str]:
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            return
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                if depth < MAX_DEPTH and not self._is_left_out(entry):
                    yield from self._files(Path(entry.path), endings, depth + 1)
            elif entry.is_file(follow_symlinks=False) and entry.name.lower().endswith(endings):
                yield self._relative(Path(entry.path))

    def _is_left_out(self, folder: os.DirEntry[str]) -> bool:
        own = folder.path == str(self.workspace / _OWN)
        return own or folder.name.startswith(".") or folder.name in _LEFT_OUT

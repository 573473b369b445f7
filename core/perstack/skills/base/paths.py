"""The one way from a path that a model wrote to a file: no other code of the base tools opens any.

A path is walked component by component through directory descriptors, and no component is ever
followed by the kernel: a link is read and its text walked like the rest. So what was checked is
what is opened, whatever other processes do to the names meanwhile. Refused are paths and links
that leave the workspace, and everything in the directory where the history is kept.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from perstack.skills.base.failure import ToolFailure

DATA_DIRECTORY: Final = "perstack"
_MAX_LINKS: Final = 40
_MAX_PATH: Final = 4096
# Each directory on the way is held open; sixteen calls at once must leave the program some.
_MAX_DEPTH: Final = 48
# By the identity of the directory; a program works in one or two.
_WRITERS: Final[dict[tuple[int, int], threading.Lock]] = {}
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """A name in an opened directory; both stand for what the path means now.

    `found` is what the name stood for when it was looked up (never a link), None for nothing.
    `relative` is the path below the workspace, "." for the workspace itself.
    """

    directory: int
    name: str
    relative: str
    found: os.stat_result | None

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.found is not None and stat.S_ISREG(self.found.st_mode)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.found is not None and stat.S_ISDIR(self.found.st_mode)

    @property
    def is_root(self) -> bool:
        """Whether it is the workspace itself."""
        return self.relative == "."

    def open(self, flags: int, mode: int = 0o666) -> int:
        """Open exactly this name; the caller closes the descriptor."""
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(self.name, flags, mode, dir_fd=self.directory)

    def may(self, what: int) -> bool:
        """Whether this process may do `what` (`os.R_OK` and so on) with it."""
        return os.access(self.name, what, dir_fd=self.directory, follow_symlinks=False)

    def look(self) -> os.stat_result | None:
        """Return what the name stands for now, without following it."""
        return _look(self.directory, self.name)


@dataclass(slots=True)
class _Walk:
    """Where a walk has got to: the directories above, and how many links it took."""

    fds: list[int]
    names: list[str] = field(default_factory=list[str])
    links: int = 0


class Workspace:
    """A directory that tools may work in, held open until `close`.

    `one_writer` is shared by all that this program has opened of the same directory: an edit reads
    and replaces a file, and two of parallel runs would lose one another's.
    """

    def __init__(self, root: Path, *, home: str | None = None) -> None:
        real = root.resolve(strict=True)
        self._roots = tuple({tuple(root.absolute().parts[1:]), tuple(real.parts[1:])})
        self._home = home
        self._fd = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._data: set[tuple[int, int]] = set()
        self.one_writer = _WRITERS.setdefault(_identity(os.fstat(self._fd)), threading.Lock())
        self.path = real
        self._data_identities()

    @property
    def descriptor(self) -> int:
        """The open directory itself."""
        return self._fd

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._fd)

    @contextmanager
    def locate(
        self, path: str, *, follow: bool = False, make_parents: bool = False
    ) -> Generator[Place, None, None]:
        """Find the place that `path` names; what it holds stays open within the `with`.

        With `follow`, a link at the end is followed, without it refused. With `make_parents`,
        missing directories on the way are made.

        Raises:
            ToolFailure: the path leaves the workspace, is the data directory's, or has no parent.
        """
        parts = self._parts(path)
        with ExitStack() as opened:
            walk = _Walk([self._fd])
            opened.callback(_close_all, walk.fds)
            try:
                place = self._walk(walk, parts, path, follow=follow, make_parents=make_parents)
            except OSError as error:
                raise translated(error, path) from error
            yield place

    def open_directory(self, path: str) -> int:
        """Open a directory of the workspace; the caller closes the descriptor.

        Raises:
            ToolFailure: as `locate`, or it is no directory.
        """
        with self.locate(path, follow=True) as place:
            if place.found is None:
                raise ToolFailure("NotFound", f"Directory {path} does not exist.")
            try:
                return os.open(place.name, _DIRECTORY, dir_fd=place.directory)
            except OSError as error:
                raise translated(error, path) from error

    def refuse_holder_of_data(self, place: Place) -> None:
        """Raise a ToolFailure if the data directory is `place` or lies below it.

        So it can be where `perstack` is a link to a directory of the workspace.
        """
        if place.found is None:
            return
        with ExitStack() as opened, suppress(FileNotFoundError, NotADirectoryError):
            here = os.open(DATA_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._fd)
            opened.callback(os.close, here)
            while not os.path.samestat(now := os.fstat(here), os.fstat(self._fd)):
                if os.path.samestat(now, place.found):
                    raise _denied()
                above = os.open("..", _DIRECTORY, dir_fd=here)
                opened.callback(os.close, above)
                if os.path.samestat(now, os.fstat(above)):
                    return
                here = above

    def _parts(self, path: str) -> deque[str]:
        if not path or len(path) > _MAX_PATH or not _can_be_a_name(path):
            raise ToolFailure("InvalidPath", "The path is empty, too long, or cannot be a path.")
        if self._home and (path == "~" or path.startswith("~/")):
            path = self._home + path[1:]
        if path.startswith("/"):
            return self._below(path)
        return deque(_split(path))

    def _below(self, absolute: str) -> deque[str]:
        """Return the parts of an absolute path below the workspace, compared part by part."""
        parts = tuple(_split(absolute))
        for root in self._roots:
            if parts[: len(root)] == root:
                return deque(parts[len(root) :])
        raise _outside()

    def _walk(
        self, walk: _Walk, todo: deque[str], path: str, *, follow: bool, make_parents: bool
    ) -> Place:
        while todo:
            part = todo.popleft()
            if part == "..":
                _step_up(walk)
                continue
            _refuse_data_directory(walk, part)
            found = _look(walk.fds[-1], part)
            if found is not None and stat.S_ISLNK(found.st_mode):
                if not todo and not follow:
                    raise ToolFailure(
                        "SymlinkDenied", "Operation denied: target is a symbolic link"
                    )
                self._take_link(walk, part, todo)
            elif todo:
                make = make_parents and found is None and not walk.links
                self._step_down(walk, part, path, make=make)
            else:
                self._refuse_data_identity(found)
                return Place(walk.fds[-1], part, "/".join([*walk.names, part]), found)
        here = os.fstat(walk.fds[-1])
        return Place(walk.fds[-1], ".", "/".join(walk.names) or ".", here)

    def _take_link(self, walk: _Walk, part: str, todo: deque[str]) -> None:
        walk.links += 1
        if walk.links > _MAX_LINKS:
            raise ToolFailure("InvalidPath", "Too many symbolic links.")
        target = os.readlink(part, dir_fd=walk.fds[-1])
        if target.startswith("/"):
            parts = self._below(target)
            _back_to_root(walk)
        else:
            parts = deque(_split(target))
        todo.extendleft(reversed(parts))

    def _step_down(self, walk: _Walk, part: str, path: str, *, make: bool) -> None:
        if len(walk.names) >= _MAX_DEPTH:
            raise ToolFailure(
                "InvalidPath", f"The path leads through over {_MAX_DEPTH} directories."
            )
        if make:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=walk.fds[-1])
        try:
            fd = os.open(part, _DIRECTORY, dir_fd=walk.fds[-1])
        except FileNotFoundError as error:
            raise ToolFailure("NotFound", f"Parent directory of {path} does not exist.") from error
        walk.fds.append(fd)
        walk.names.append(part)
        self._refuse_data_identity(os.fstat(fd))

    def _refuse_data_identity(self, found: os.stat_result | None) -> None:
        """Refuse the data directory also under another name.

        It has one where `perstack` is a link, where a file system or a mount gives it one, and
        after a command has moved it away.
        """
        if found is not None and _identity(found) in self._data_identities():
            raise _denied()

    def _data_identities(self) -> set[tuple[int, int]]:
        """Which directories are or were the data directory; looked up, since it may come later."""
        with suppress(OSError):
            self._data.add(_identity(os.stat(DATA_DIRECTORY, dir_fd=self._fd)))
        return self._data


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _can_be_a_name(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _step_up(walk: _Walk) -> None:
    if not walk.names:
        raise _outside()
    walk.names.pop()
    os.close(walk.fds.pop())


def _back_to_root(walk: _Walk) -> None:
    while walk.names:
        _step_up(walk)


def _close_all(fds: list[int]) -> None:
    """Close what a walk opened; the first is the workspace's own."""
    for fd in fds[1:]:
        os.close(fd)


def _refuse_data_directory(walk: _Walk, part: str) -> None:
    if not walk.names and part.casefold() == DATA_DIRECTORY:
        raise _denied()


def _look(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _outside() -> ToolFailure:
    return ToolFailure("AccessDenied", "Access denied - path outside the workspace")


def _denied() -> ToolFailure:
    return ToolFailure("AccessDenied", "Access denied - perstack directory is not allowed")


def translated(error: OSError, path: str) -> ToolFailure:
    """Return what to tell the model about an error that the system gave for `path`."""
    if error.errno in (errno.ELOOP, errno.EMLINK):
        return ToolFailure("SymlinkDenied", "Operation denied: target is a symbolic link")
    if error.errno == errno.ENOTDIR:
        return ToolFailure("NotADirectory", f"{path} is not a directory, or is not below one.")
    return ToolFailure(type(error).__name__, f"{path}: {error.strerror or error}")

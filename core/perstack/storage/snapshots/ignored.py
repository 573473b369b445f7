"""What a snapshot leaves out: what `.gitignore` files name, and what the settings exclude."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

GITIGNORE: Final = ".gitignore"
HISTORIES: Final = frozenset({".git", ".hg", ".svn", ".jj"})
# Made anew by whoever needs them, or a history of their own.
NEVER: Final = frozenset(
    {
        *HISTORIES,
        "node_modules",
        "bower_components",
        "__pycache__",
        ".venv",
        "venv",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".gradle",
        ".terraform",
    }
)
_LONGEST: Final = 1_000_000
_LONGEST_LINE: Final = 1_000
_MOST_STARS: Final = 3


@dataclass(frozen=True, slots=True)
class _Rules:
    """A `.gitignore`: which version of it was read, and what it says. `spec` None: nothing."""

    version: tuple[int, ...]
    spec: GitIgnoreSpec | None


class Ignored:
    """The patterns of one workspace; what was decided is remembered while no file changes them."""

    def __init__(self, exclude: Iterable[str]) -> None:
        self._exclude = tuple(exclude)
        self._excluding: GitIgnoreSpec | None = None
        self._rules: dict[str, _Rules] = {}
        self._decided: dict[str, bool] = {}
        self._excluded: dict[str, bool] = {}

    def enter(
        self, folder: str, found: os.stat_result | None, read: Callable[[], bytes | None]
    ) -> None:
        """Take note of a folder's `.gitignore`: how it looks, None where there is none.

        `folder` is "" for the workspace, or ends in "/". Folders are entered before what is below.
        """
        if found is None:
            if self._rules.pop(folder, None) is not None:
                self._decided.clear()
            return
        version = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        known = self._rules.get(folder)
        if known is not None and known.version == version:
            return
        content = read()
        spec = _spec((content or b"")[:_LONGEST].decode("utf-8", "surrogateescape").splitlines())
        self._rules[folder] = _Rules(version, spec)
        self._decided.clear()

    def is_ignored(self, path: str) -> bool:
        """Tell whether the path is left out; that of a folder ends in "/"."""
        found = self._decided.get(path)
        if found is None:
            found = self._decided[path] = self._decide(path)
        return found

    def is_excluded(self, path: str) -> bool:
        """Tell whether the settings say that the content is not to be stored."""
        found = self._excluded.get(path)
        if found is None:
            if self._excluding is None:
                self._excluding = _spec(self._exclude) or _spec(["!*"])
            spec = self._excluding
            found = bool(spec is not None and spec.check_file(path).include)
            self._excluded[path] = found
        return found

    def _decide(self, path: str) -> bool:
        name = path.rstrip("/").rpartition("/")[2]
        if name in HISTORIES or (name in NEVER and path.endswith("/")):
            return True
        if not self._rules:
            return False
        inner = path.rstrip("/")
        while True:
            at = inner.rpartition("/")[0]
            rules = self._rules.get(f"{at}/" if at else "")
            if rules is not None and rules.spec is not None:
                said = rules.spec.check_file(path[len(at) + 1 if at else 0 :]).include
                if said is not None:
                    return said
            if not at:
                return False
            inner = at


def _spec(lines: Iterable[str]) -> GitIgnoreSpec | None:
    """Return what the lines say; a line that is no pattern says nothing, as for git."""
    from pathspec import GitIgnoreSpec

    wanted = [line for line in lines if _may_be_pattern(line)]
    if not wanted:
        return None
    try:
        return GitIgnoreSpec.from_lines(wanted)
    except (ValueError, re.error):
        return GitIgnoreSpec.from_lines(filter(_is_pattern, wanted))


def _may_be_pattern(line: str) -> bool:
    if not line.strip() or line.startswith("#") or len(line) > _LONGEST_LINE:
        return False
    # Each star of a name multiplies how long a regular expression may take to say no.
    names = line.replace("**", "").split("/")
    return all(name.count("*") <= _MOST_STARS for name in names)


def _is_pattern(line: str) -> bool:
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return True

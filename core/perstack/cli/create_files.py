"""What `perstack create` writes: shown first, then each file whole or not at all."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perstack.cli.create_setup import Key, Setup
from perstack.cli.ignoring import ignore_records, is_tracked, missing_lines
from perstack.config.created_files import settings_toml, with_agents_section, with_variable
from perstack.config.dotenv import parse_env
from perstack.config.find import CONFIG_NAME
from perstack.config.limits import FILE_BYTES
from perstack.config.process_env import process_environment
from perstack.errors import StorageError, UsageError
from perstack.projection.inert import inert
from perstack.services.file_diffs import unified
from perstack.storage.files import explained
from perstack.storage.new_file import new_file

ENV_NAME: Final = ".env"
AGENTS_NAME: Final = "AGENTS.md"
_UNTOLD: Final = "could not tell whether git tracks this file: if it does, the key is committed"
_SHOWN_WHOLE: Final = 14


@dataclass(frozen=True, slots=True)
class Change:
    """A file as it is (None: not there) and as it would be. Of a `secret` one no text is shown.

    `doubt` is what the user should know before it is written.
    """

    path: Path
    before: str | None
    after: str
    secret: str | None = None
    doubt: str | None = None

    @property
    def is_needed(self) -> bool:
        """Whether it would change anything."""
        return self.before != self.after

    def lines(self) -> Iterator[str]:
        """Yield what is shown of it before it is made."""
        name = inert(str(self.path), newlines=False)
        if self.secret is not None:
            kind = "new, readable by you alone" if self.before is None else "one line more"
            yield f"{name} ({kind})"
            yield f"+{self.secret}=(not shown)"
            if self.doubt is not None:
                yield f"Note: {self.doubt}"
        elif self.before is None:
            lines = self.after.splitlines()
            yield f"{name} (new, {len(lines)} lines)"
            if len(lines) <= _SHOWN_WHOLE:
                yield from (inert(f"+{line}", newlines=False) for line in lines)
        else:
            yield f"--- {name}"
            yield f"+++ {name}"
            for line in unified(self.before.splitlines(), self.after.splitlines()):
                yield inert(line, newlines=False)


def setup_changes(folder: Path, setup: Setup | None, key: Key | None) -> list[Change]:
    """Return what a folder lacks: settings for a new project, a key, notes for coding agents.

    Raises:
        UsageError: one of the files is a link, or no text, or git would commit the key.
    """
    changes: list[Change] = []
    text_of(folder / ".gitignore")
    if setup is not None:
        path = folder / CONFIG_NAME
        changes.append(
            Change(path, text_of(path), settings_toml(setup.vendor, setup.model, setup.runtime))
        )
    if key is not None:
        changes += _env_changes(folder / ENV_NAME, key)
    path = folder / AGENTS_NAME
    before = text_of(path)
    changes.append(Change(path, before, with_agents_section(before or "")))
    return [change for change in changes if change.is_needed]


def _env_changes(path: Path, key: Key) -> list[Change]:
    before = text_of(path)
    known = parse_env(path, (before or "").encode())
    if known.get(key.name):
        return []
    if before is not None and path.stat().st_uid != os.geteuid():
        raise UsageError(
            f"{inert(str(path), newlines=False)} belongs to another user, who would lose it",
            hint=f"export {key.name} instead",
        )
    tracked = is_tracked(path, process_environment())
    if tracked:
        raise UsageError(
            f"{inert(str(path), newlines=False)} belongs to the git repository, and the key would "
            "be committed with it",
            hint=f"export {key.name} instead, or: git rm --cached {path.name}",
        )
    doubt = _UNTOLD if tracked is None else None
    after = with_variable(before or "", key.name, key.value)
    return [Change(path, before, after, key.name, doubt)]


def change_of(path: Path, after: str) -> Change:
    """Return how a file would change; it need not be there.

    Raises:
        UsageError: it is a link, or no text.
    """
    return Change(path, text_of(path), after)


def shown(folder: Path, changes: Sequence[Change]) -> Iterator[str]:
    """Yield what would be written, `.gitignore` included."""
    for change in changes:
        yield from change.lines()
    if lines := missing_lines(folder, always=_has_secret(changes)):
        yield f"{folder / '.gitignore'}: {', '.join(lines)}"


def write(folder: Path, changes: Sequence[Change]) -> None:
    """Write the files. Ctrl-C waits until all are there: none is left half done.

    Raises:
        StorageError: one cannot be written, or has changed since it was shown.
    """
    with _uninterrupted():
        for change in changes:
            if text_of(change.path) != change.before:
                raise StorageError(
                    f"{change.path} has changed meanwhile", hint="type the command once more"
                )
        # First of all, so that no key is ever in a folder that git would add.
        ignore_records(folder, always=_has_secret(changes))
        for change in changes:
            _write(change)


def _write(change: Change) -> None:
    replaces, shared = change.before is not None, change.secret is None
    with new_file(change.path, replaces=replaces, shared=shared) as file:
        file.write(change.after)


def _has_secret(changes: Sequence[Change]) -> bool:
    return any(change.secret is not None for change in changes)


@contextmanager
def _uninterrupted() -> Generator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def text_of(path: Path) -> str | None:
    """Return a file's text, None where there is none.

    Raises:
        UsageError: it is a link (what it leads to was not meant), no file, too large or no text.
    """
    try:
        with explained("read", path):
            if path.is_symlink():
                hint = "put a file in its place; it is not followed"
                raise UsageError(f"{path} is a link", hint=hint)
            if not path.exists():
                return None
            if not path.is_file() or path.stat().st_size > FILE_BYTES:
                raise UsageError(f"{path} is no text file", hint="move it away")
            return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", hint="save it with this encoding") from error

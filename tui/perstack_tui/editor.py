"""Somebody's editor: which one, how it is told a line, and how a text passes through it."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Final

import anyio
import anyio.to_thread

from perstack.errors import UsageError
from perstack.projection.inert import has_hidden
from perstack_tui.text import flat

LARGEST: Final = 1_000_000
# An editor that is told to end gets this long to put the terminal in order.
END_WITHIN_S: Final = 1.0
_PLUS: Final = frozenset(
    (
        *("vi", "vim", "nvim", "view", "nano", "pico", "emacs", "emacsclient"),
        *("micro", "kak", "joe", "jed", "mg", "ne", "zile", "mcedit"),
    )
)
_COLON: Final = frozenset(("hx", "helix", "subl", "zed"))
_GOTO: Final = frozenset(("code", "code-insiders", "codium", "cursor", "windsurf"))
# They return at once unless told to wait.
_WINDOWED: Final = _GOTO | {"subl", "zed", "gedit", "kate", "mate", "bbedit"}


@dataclass(frozen=True, slots=True)
class Editor:
    """A program with its arguments, found on this machine."""

    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """The program's name."""
        return Path(self.words[0]).name

    @property
    def must_be_told_to_wait(self) -> bool:
        """Whether it opens a window and returns at once."""
        waits = {"--wait", "-w", "--block", "-b"}
        return self.name in _WINDOWED and not waits & set(self.words)

    def command(self, path: Path, line: int) -> tuple[str, ...]:
        """Return the words that open `path` at `line`, from 1, where the editor takes one."""
        at = str(path.absolute())
        if line > 1 and self.name in _PLUS:
            return (*self.words, f"+{line}", at)
        if line > 1 and self.name in _COLON:
            return (*self.words, f"{at}:{line}")
        if line > 1 and self.name in _GOTO:
            return (*self.words, "-g", f"{at}:{line}")
        return (*self.words, at)


def find_editor(environ: Mapping[str, str]) -> Editor:
    """Return the editor that $VISUAL or $EDITOR names, else vi or nano.

    Raises:
        UsageError: it is not there, or there is none.
    """
    for variable in ("VISUAL", "EDITOR"):
        if named := environ.get(variable, "").strip():
            return _named(variable, named, environ)
    for program in ("vi", "nano"):
        if shutil.which(program, path=environ.get("PATH")):
            return Editor((program,))
    raise UsageError("no editor is set", hint="set EDITOR, as in EDITOR=nano")


def _named(variable: str, command: str, environ: Mapping[str, str]) -> Editor:
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"${variable} cannot be read: {error}", hint=f"set {variable}") from None
    if not words or shutil.which(words[0], path=environ.get("PATH")) is None:
        raise UsageError(
            f"${variable} names {flat(words[0]) if words else 'nothing'}, which is not installed",
            hint=f"set {variable} to an editor that is",
        )
    return Editor(words)


async def run_editor(editor: Editor, path: Path, line: int = 1) -> int:
    """Run the editor on the terminal until it ends; return its exit code, negative for a signal.

    Cancelled, it tells the editor to end, and waits a second for that.

    Raises:
        UsageError: it cannot be started.
    """
    command = editor.command(path, line)
    try:
        # Waited for in a thread: the loop goes on with what is at work meanwhile.
        process = await anyio.to_thread.run_sync(_start, command)
    except OSError as error:
        raise UsageError(f"{editor.name} cannot be started: {error.strerror}") from None
    try:
        while (code := await anyio.to_thread.run_sync(_wait, process)) is None:
            pass
    except BaseException:
        _end(process)
        raise
    return code


def _start(command: Sequence[str]) -> Popen[bytes]:
    return Popen(command)


def _wait(process: Popen[bytes]) -> int | None:
    """Wait for half a second at most, so that a cancelled wait leaves no thread behind."""
    with suppress(TimeoutExpired):
        return process.wait(0.5)
    return None


def _end(process: Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_WITHIN_S)
    except TimeoutExpired:
        process.kill()
        process.wait(END_WITHIN_S)


def ending(editor: Editor, code: int) -> str | None:
    """Return in words how the editor failed, None when it did not."""
    if code == 0:
        return None
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    return f"{editor.name} {how}"


class Sheet:
    """A text in a file of its own that only its owner may read; `close` leaves nothing behind."""

    def __init__(self, text: str, suffix: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="perstack-"))
        self.path = self._folder / f"text{suffix}"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        with os.fdopen(os.open(self.path, flags, 0o600), "w", errors="replace") as file:
            file.write(text)
        self._stamp = self._look()

    def saved(self) -> str | None:
        """Return what was saved, without what acts on a terminal or hides; None for nothing.

        Raises:
            UsageError: it is too long.
        """
        stamp = self._look()
        if stamp is None or stamp == self._stamp:
            return None
        with self.path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise UsageError("what was saved is longer than 1 MB")
        return cleaned(data.decode(errors="replace"))

    def close(self) -> None:
        """Remove the file, and the editor's own copies beside it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns


def cleaned(text: str) -> str:
    """Return `text` with plain newlines, without hidden characters and the last newline."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ").split("\n")
    kept = (
        "".join(sign for sign in line if not has_hidden(sign)) if has_hidden(line) else line
        for line in lines
    )
    return "\n".join(kept).removesuffix("\n")

"""A program in a real tmux: keys are typed, and what its pane shows is looked at."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

GIVE_UP_S: Final = 45.0
_LOOK_S: Final = 0.05
# The cockpit takes keys that do something only once the keyboard was quiet for 0.4 s.
_QUIET_S: Final = 0.7


class Tmux:
    """One pane of a tmux server of its own."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def ask(self, *words: str) -> str:
        """Run a tmux command and return what it printed."""
        command = ["tmux", "-S", str(self._socket), "-f", "/dev/null", *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=20
        ).stdout

    def screen(self) -> str:
        """Return what the pane shows."""
        return self.ask("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        """Type keys by tmux's names for them."""
        self.ask("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type `text` literally."""
        self.ask("send-keys", "-l", text)

    def until(self, *texts: str, without: str | None = None) -> str:
        """Look until all of `texts` are shown, and `without` is not; return the screen.

        Raises:
            AssertionError: they were not within `GIVE_UP_S`; the screen is in the message.
        """
        ends = time.monotonic() + GIVE_UP_S
        while not self._shows(seen := self.screen(), texts, without):
            if time.monotonic() > ends:
                raise AssertionError(f"{texts} (without {without!r}) never came:\n{seen}")
            time.sleep(_LOOK_S)
        return seen

    def press_when_quiet(self, key: str) -> None:
        """Press `key` once nothing was typed or painted for a while, as keys that decide need it.

        Raises:
            AssertionError: the screen never came to rest.
        """
        ends, seen, since = time.monotonic() + GIVE_UP_S, "", time.monotonic()
        while time.monotonic() - since < _QUIET_S:
            now = self.screen()
            if now != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() > ends:
                raise AssertionError(f"it never came to rest:\n{seen}")
            time.sleep(_LOOK_S)
        self.press(key)

    def press_until(self, key: str, *texts: str, without: str | None = None) -> str:
        """Press `key`, again after a quiet while, until it shows what it should."""
        ends = time.monotonic() + GIVE_UP_S
        while True:
            self.press(key)
            again = time.monotonic() + _QUIET_S
            while time.monotonic() < again:
                if self._shows(seen := self.screen(), texts, without):
                    return seen
                time.sleep(_LOOK_S)
            if time.monotonic() > ends:
                raise AssertionError(f"{key} never brought {texts}:\n{self.screen()}")

    @staticmethod
    def _shows(seen: str, texts: Sequence[str], without: str | None) -> bool:
        return all(text in seen for text in texts) and (without is None or without not in seen)


@contextmanager
def in_tmux(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], size: tuple[int, int]
) -> Generator[Tmux]:
    """Run `command` in a pane of `size` (columns, rows); nothing of it is left afterwards."""
    pane = Tmux(cwd / "tmux.sock")
    columns, rows = size
    given = " ".join(f"{name}={shlex.quote(value)}" for name, value in env.items())
    whole = (
        f"cd {shlex.quote(str(cwd))}; exec env -u COLUMNS -u LINES {given} {shlex.join(command)}"
    )
    pane.ask("new-session", "-d", "-x", str(columns), "-y", str(rows), whole)
    try:
        yield pane
    finally:
        pane.ask("kill-server")

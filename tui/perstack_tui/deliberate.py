"""Keys that decide, in any sheet: they count after a quiet moment, and alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perstack_tui.ports.host import Host
from perstack_tui.state.grace import Grace

NOISY: Final = "that came while somebody was typing; press it after a quiet moment"
CROWDED: Final = "several keys came at once, so none of them decided; press it alone"
AGAIN: Final = "nothing was sent: ⏎ came while keys still came in; press it once more"


class Deliberate:
    """Tells keys that were meant for a sheet from those that were on their way elsewhere.

    Every key asks `admits`. A letter that decides goes through `decide`, and enter behind a typed
    text through `send`; `refused` is told in words why it did not count.
    """

    def __init__(self, host: Host, refused: Callable[[str], None]) -> None:
        self._host = host
        self._refused = refused
        self._grace = Grace(host.monotonic)
        self._opened = host.monotonic()

    def restart(self) -> None:
        """Begin anew, as when the sheet opens."""
        self._grace.restart()
        self._opened = self._host.monotonic()

    def admits(self) -> bool:
        """Say whether a key pressed now may look about; one that may not prolongs the wait."""
        return self._grace.admits()

    def decide(self, work: Callable[[], None]) -> None:
        """Do `work` if the key at hand came alone, after a quiet moment; else say why not."""
        if self._grace.calm and self._host.incoming.calm:
            self._host.incoming.alone(work, lambda: self._refuse(CROWDED))
        else:
            self._refuse(NOISY)

    def send(self, work: Callable[[], None]) -> None:
        """Do `work` if the keyboard was quiet once since the sheet opened, and enter came alone.

        So whoever types an answer need not pause behind it, and whoever was typing anyway as the
        sheet opened sends nothing.
        """
        if self._host.incoming.was_quiet_since(self._opened):
            self._host.incoming.alone(work, lambda: self._refuse(AGAIN))
        else:
            self._refuse(AGAIN)

    def _refuse(self, why: str) -> None:
        self.restart()
        self._refused(why)

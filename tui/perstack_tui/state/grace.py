"""Keys typed before a sheet opened must not decide anything in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

QUIET_S: Final = 0.4
CAP_S: Final = 1.5


class Grace:
    """Refuses keys until the keyboard was quiet for 0.4 s, for 1.5 s at the longest.

    The cap is for keys that look about. `calm` says that there was a quiet moment: without one
    nothing is decided, however long somebody types.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._opened = self._last = monotonic()
        self.calm = False

    def restart(self) -> None:
        """Begin anew, as when the sheet opens."""
        self._opened = self._last = self._monotonic()
        self.calm = False

    def admits(self) -> bool:
        """Say whether a key pressed now counts; one that does not prolongs the wait."""
        now = self._monotonic()
        self.calm = self.calm or now - self._last >= QUIET_S
        self._last = now
        return self.calm or now - self._opened >= CAP_S

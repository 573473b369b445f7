"""What comes from the terminal, judged: keys that came at once, clicks that only woke it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from textual import events

# The click by which a person goes to the terminal's window follows its gain of focus at once.
WAKING_S: Final = 0.5
QUIET_S: Final = 0.4
_ROUNDING_S: Final = 1e-6


@dataclass(slots=True)
class _Breath:
    """What was typed, pasted and clicked at once, as one read of the terminal gave it."""

    count: int = 0


class Incoming:
    """Sees every event of the user before the screens do.

    `later` does a piece of work once everything was handed on that has come by now.
    """

    def __init__(
        self, later: Callable[[Callable[[], None]], object], monotonic: Callable[[], float]
    ) -> None:
        self._later = later
        self._monotonic = monotonic
        self._breath = _Breath()
        self._open = False
        self._woken_at = -WAKING_S
        self._dropping = False
        self._typed_at = -QUIET_S
        self._silence = (-QUIET_S, -QUIET_S)
        self.calm = False
        """Whether keyboard and mouse buttons were quiet for 0.4 s before the latest key."""
        self.used = False
        """Whether anything was typed, pasted or clicked since the cockpit was opened."""

    def takes(self, event: events.Event) -> bool:
        """Note an event; say whether it is to be handed on."""
        if isinstance(event, events.AppFocus):
            self._woken_at = self._monotonic()
        elif isinstance(event, events.MouseDown):
            self._breathe()
            self._dropping = self._monotonic() - self._woken_at < WAKING_S
            return not self._dropping
        elif isinstance(event, events.MouseUp):
            self._breathe()
            dropped, self._dropping = self._dropping, False
            return not dropped
        elif isinstance(event, (events.Key, events.Paste)):
            self._breathe()
        return True

    def alone(self, work: Callable[[], None], otherwise: Callable[[], None]) -> None:
        """Do `work` if the key at hand came alone, else `otherwise`.

        Keys that come together were pasted, or typed ahead: none of them was meant for what is
        on the screen now. Nor was a key that comes together with a click.
        """
        breath = self._breath
        self._later(lambda: work() if breath.count <= 1 else otherwise())

    def was_quiet_since(self, moment: float) -> bool:
        """Say whether nothing came for 0.4 s at some time since `moment`, up to the latest key."""
        began, ended = self._silence
        return ended - max(began, moment) >= QUIET_S - _ROUNDING_S

    def _breathe(self) -> None:
        self.used = True
        if not self._open:
            self._open, self._breath = True, _Breath()
            self._later(self._end)
        self._breath.count += 1
        now = self._monotonic()
        self.calm = now - self._typed_at >= QUIET_S
        if self.calm:
            self._silence = (self._typed_at, now)
        self._typed_at = now

    def _end(self) -> None:
        self._open = False

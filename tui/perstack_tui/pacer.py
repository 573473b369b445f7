"""When to paint: at once for what a key did, else at most 12 times a second, else not at all.

Where painting is slow (a large screen, a busy machine), it is done less often.

And when to fold what is left of a long history: between the paints, helping by helping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from textual.app import App
from textual.timer import Timer

from perstack_tui.timers import after

# What is read cannot be followed faster, and each paint costs; keys do not wait for it.
FRAME_S: Final = 0.08
# Of a core's time, painting may take one part in so many, as long as it is not too seldom.
_SHARE: Final = 10
SLOWEST_FRAME_S: Final = 0.2
# While the history is being read, the loop is free this long between two helpings of it.
BREATH_S: Final = 0.006


class Pacer:
    """Turns many requests into one call of `paint`."""

    def __init__(
        self, app: App[int], paint: Callable[[], None], monotonic: Callable[[], float]
    ) -> None:
        self.pending = False
        self.paints = 0
        self._app = app
        self._paint = paint
        self._monotonic = monotonic
        self._timer: Timer | None = None
        self._painted_at = -FRAME_S
        self._frame_s = FRAME_S

    def request(self, *, now: bool) -> None:
        """Paint soon."""
        self.pending = True
        wait = 0.0 if now else self._painted_at + self._frame_s - self._monotonic()
        if wait <= 0:
            self._app.call_later(self._fire)
        elif self._timer is None:
            self._timer = after(self._app, wait, self._fire)

    def _fire(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        # As the app ends its screens are taken away before what was asked for is handled.
        if not self.pending or not self._app.screen_stack:
            return
        self.pending, self._painted_at = False, self._monotonic()
        self.paints += 1
        self._paint()
        took_s = self._monotonic() - self._painted_at
        self._frame_s = min(max(FRAME_S, _SHARE * took_s), SLOWEST_FRAME_S)


class Helpings:
    """Calls `fold` with a breath before each helping, for as long as it says that more is left."""

    def __init__(self, app: App[int], fold: Callable[[], bool]) -> None:
        self._app = app
        self._fold = fold
        self._awaited = False

    def go_on(self) -> None:
        """Fold on soon, and not only as often as there are paints."""
        if not self._awaited:
            self._awaited = True
            after(self._app, BREATH_S, self._take_one)

    def _take_one(self) -> None:
        self._awaited = False
        if self._fold():
            self.go_on()

"""Doing something once, later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from textual.message_pump import MessagePump
from textual.timer import Timer

# An interval that is over sooner than it is looked at never catches up with the time.
_SHORTEST_S: Final = 0.001


def after(pump: MessagePump, delay_s: float, do: Callable[[], object]) -> Timer:
    """Call `do` once, in `delay_s` seconds, or a thousandth if that is more.

    Textual drops a one-shot timer without calling anything when its time is over before it is
    first looked at, as happens on a machine that is busy; so this is an interval that ends itself.
    """

    def ring() -> None:
        timer.stop()
        do()

    timer = pump.set_interval(max(delay_s, _SHORTEST_S), ring)
    return timer

"""Doing something once, later."""

from __future__ import annotations

from collections.abc import Callable

from textual.message_pump import MessagePump
from textual.timer import Timer


def after(pump: MessagePump, delay_s: float, do: Callable[[], object]) -> Timer:
    """Call `do` once, in `delay_s` seconds, which must be more than 0.

    Textual drops a one-shot timer without calling anything when its time is over before it is
    first looked at, as happens on a machine that is busy; so this is an interval that ends itself.
    """

    def ring() -> None:
        timer.stop()
        do()

    timer = pump.set_interval(delay_s, ring)
    return timer

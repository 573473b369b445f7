"""Stopping a job from outside: an outcome, never an exception that escapes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Literal

import anyio

StopReason = Literal["user", "signal", "detach", "budget"]

TOOL_GRACE_S: Final = 1.0


class StopControl:
    """Says to a run, and to every run below it, when to stop; a job's own says it to all.

    "budget": the time that the job may take is used up.

    A first request ends model calls and waits at once, since nothing is lost by making them
    again, and gives tools that are running `TOOL_GRACE_S` to finish. A second one (`now`) ends
    those too; they are shown as in doubt when the run goes on.
    """

    def __init__(self, *, tool_grace_s: float = TOOL_GRACE_S) -> None:
        self.reason: StopReason | None = None
        self.by: str | None = None
        self._grace_s = tool_grace_s
        self._below: set[StopControl] = set()
        self._light: set[anyio.CancelScope] = set()
        self._heavy: set[anyio.CancelScope] = set()

    @property
    def stopping(self) -> bool:
        """True once a stop was asked for."""
        return self.reason is not None

    @contextmanager
    def below(self) -> Generator[StopControl]:
        """Give the control of a delegated run: it stops with this one, or by itself."""
        child = StopControl(tool_grace_s=self._grace_s)
        child.reason, child.by = self.reason, self.by
        self._below.add(child)
        try:
            yield child
        finally:
            self._below.discard(child)

    def stop(
        self,
        reason: StopReason,
        *,
        by: str | None = None,
        now: bool = False,
        tool_grace_s: float | None = None,
    ) -> None:
        """Ask every run to stop; again, or with `now`, without waiting for tools.

        `by` is who asks, where that is known. `tool_grace_s` gives tools another time than usual,
        in seconds.
        """
        for child in tuple(self._below):
            child.stop(reason, by=by, now=now, tool_grace_s=tool_grace_s)
        again = self.stopping
        self.by = self.by or by
        self._grace_s = self._grace_s if tool_grace_s is None else tool_grace_s
        self.reason = self.reason or reason
        for scope in self._light:
            scope.cancel()
        for scope in self._heavy:
            if again or now:
                scope.cancel()
            else:
                scope.deadline = min(scope.deadline, anyio.current_time() + self._grace_s)

    def interruptible(self) -> Held:
        """Return a block that runs until a stop is asked for; `cancelled_caught` tells."""
        scope = anyio.CancelScope()
        if self.stopping:
            scope.cancel()
        return Held(scope, self._light)

    def finishing(self) -> Held:
        """Return a block that runs to its end, unless a stop's grace is over before."""
        scope = anyio.CancelScope()
        if self.stopping:
            scope.deadline = anyio.current_time() + self._grace_s
        return Held(scope, self._heavy)


class Held:
    """A cancel scope that the control can reach while its block runs, or until `release`."""

    def __init__(self, scope: anyio.CancelScope, reachable: set[anyio.CancelScope]) -> None:
        self._scope = scope
        self._reachable = reachable

    def release(self) -> None:
        """Let the rest of the block run whatever is asked for."""
        self._reachable.discard(self._scope)

    def __enter__(self) -> anyio.CancelScope:
        self._reachable.add(self._scope)
        return self._scope.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._reachable.discard(self._scope)
        return bool(self._scope.__exit__(exc_type, exc, traceback))

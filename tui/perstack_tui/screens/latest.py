"""Loading what is looked at: one piece of work at a time, and of those wanted only the last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import anyio

from perstack.errors import PerstackError
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host

Work = Callable[[Gateway], Awaitable[None]]
Failed = Callable[[PerstackError], None]
Value = TypeVar("Value")


class Latest:
    """`want` replaces what is under way; what it replaced is cancelled and never told."""

    def __init__(self, host: Host, settled: Callable[[], None]) -> None:
        self._host = host
        self._settled = settled
        self._next: tuple[Work, Failed] | None = None
        self._scope: anyio.CancelScope | None = None
        self._running = False

    @property
    def busy(self) -> bool:
        """Whether something is being loaded."""
        return self._running

    def want(self, work: Work, failed: Failed) -> None:
        """Do `work` next, in place of what is under way."""
        self._next = (work, failed)
        if self._scope is not None:
            self._scope.cancel()
        if not self._running:
            self._running = True
            self._host.command(self._run, self._refused)

    def drop(self) -> None:
        """Cancel what is under way and forget what was to come."""
        self._next = None
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self, gateway: Gateway) -> None:
        try:
            while self._next is not None:
                (work, failed), self._next = self._next, None
                with anyio.CancelScope() as self._scope:
                    try:
                        await work(gateway)
                    except PerstackError as error:
                        failed(error)
                self._scope = None
        finally:
            self._running, self._scope = False, None
        self._settled()

    def _refused(self, error: PerstackError) -> None:
        """Tell that it could not even be begun."""
        self._running = False
        if self._next is not None:
            (_, failed), self._next = self._next, None
            failed(error)
        self._settled()


class Kept(Generic[Value]):
    """The last few things that were loaded, at most `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> Value | None:
        """Return what was kept for `key`; it is the most recent now."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: Hashable, value: Value) -> None:
        """Keep `value`; the oldest goes when there are too many."""
        self._values[key] = value
        self._values.move_to_end(key)
        while len(self._values) > self._most:
            self._values.popitem(last=False)

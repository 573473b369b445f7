"""What the registry's screens show, asked for when it is wanted; of several answers the last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from perstack.config.untrusted import UntrustedError
from perstack.errors import PerstackError
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.ports.registry import Card
from perstack_tui.screens.latest import Latest
from perstack_tui.state.registry import PAGE, Shelf, Walk

TYPING_S: Final = 0.2
_UNTRUSTED: Final = "The registry is not asked: this perstack.toml says where it is"
_TRUST_IT: Final = "what it says has to be accepted first"

Work = Callable[[Gateway], Awaitable[None]]
Failed = Callable[[str, str], None]


class Asking:
    """Asks one thing at a time; what is asked anew takes the place of what is under way.

    Where the configuration has to be accepted first, the sheet that shows it is opened, and what
    was asked for is asked again once it was.
    """

    def __init__(self, host: Host, changed: Callable[[], None]) -> None:
        self._host = host
        self._changed = changed
        self._latest = Latest(host, self._settled)
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._latest.busy

    def close(self) -> None:
        """Ask nothing any more."""
        self._closed = True
        self._latest.drop()

    def drop(self) -> None:
        """Wait for no answer any more."""
        self._latest.drop()

    def want(self, work: Work, failed: Failed) -> None:
        """Do `work` next; `failed` is told why there is no answer, and what helps."""

        def refused(error: PerstackError) -> None:
            if not isinstance(error, UntrustedError):
                failed(error.message, error.hint or "")
                return
            failed(_UNTRUSTED, _TRUST_IT)
            self._host.command(_once_trusted(error, lambda: self.want(work, failed)))

        self._latest.want(work, refused)

    def _settled(self) -> None:
        if not self._closed:
            self._changed()


def _once_trusted(error: UntrustedError, again: Callable[[], None]) -> Work:
    """Return work that is refused at first, and does `again` once what it needs was accepted."""
    refusals = [error]

    async def work(_: Gateway) -> None:
        if refusals:
            raise refusals.pop()
        again()

    return work


class ShelfLoading:
    """Fills in a `Shelf`; `changed` is called when there is something new to paint."""

    def __init__(self, host: Host, shelf: Shelf, changed: Callable[[], None]) -> None:
        self._shelf = shelf
        self._changed = changed
        self._asking = Asking(host, self._settled)

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._asking.busy

    def close(self) -> None:
        """Ask nothing any more."""
        self._asking.close()

    def ask(self, *, typing: bool = False) -> None:
        """Ask for the first page; `typing` waits for the next key first."""
        words = self._shelf.words

        async def load(gateway: Gateway) -> None:
            if typing:
                await anyio.sleep(TYPING_S)
            shown = await gateway.registry.search(words, take=PAGE)
            self._shelf.take(shown, words, more=False)

        self._want(load)

    def load_more(self) -> None:
        """Ask for what follows, once the selection comes near the end."""
        shelf = self._shelf
        if not shelf.wants_more or self.busy or shelf.words != shelf.answered or shelf.problem:
            return
        words, skip = shelf.words, len(shelf.experts)

        async def load(gateway: Gateway) -> None:
            shown = await gateway.registry.search(words, take=PAGE, skip=skip)
            shelf.take(shown, words, more=True)

        self._want(load)

    def _want(self, load: Work) -> None:
        self._shelf.asking = True
        self._asking.want(load, self._shelf.fail)

    def _settled(self) -> None:
        self._shelf.asking = False
        self._changed()


class WalkLoading:
    """Fills in a `Walk`."""

    def __init__(self, host: Host, walk: Walk, changed: Callable[[], None]) -> None:
        self._walk = walk
        self._asking = Asking(host, changed)

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._asking.busy

    def close(self) -> None:
        """Ask nothing any more."""
        self._asking.close()

    def drop(self) -> None:
        """Forget what is asked for."""
        self._walk.wanted = ""
        self._asking.drop()

    def read(self, key: str, arrived: Callable[[Card], None]) -> None:
        """Ask for an Expert; what is shown stays until it is there."""
        walk = self._walk
        walk.wanted, walk.problem, walk.hint = key, "", ""

        async def load(gateway: Gateway) -> None:
            arrived(await gateway.registry.read(key))

        self._asking.want(load, walk.fail)

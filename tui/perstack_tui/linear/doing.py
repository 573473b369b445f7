"""What every command needs: the conversation, what is known, and work with the gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from anyio import CancelScope

from perstack.config.untrusted import UntrustedError
from perstack.errors import PerstackError
from perstack_tui.linear.deciding import accepts
from perstack_tui.linear.hearing import Hearing
from perstack_tui.linear.lists import Listing
from perstack_tui.linear.talk import Talk
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.registry import UntrustedExpertsError
from perstack_tui.state.definitions import shortened
from perstack_tui.text import flat

Work = Callable[[Gateway], Awaitable[None]]
Answer = TypeVar("Answer")


class GivenUp(Exception):  # noqa: N818  nothing went wrong: the user would not wait any longer
    """What was waited for was given up."""


@dataclass(slots=True)
class Doing:
    """`listing` is what was listed last, `reviewer` who decides; `gateway` is the runtime."""

    talk: Talk
    hearing: Hearing
    gateway: Gateway
    reviewer: str
    listing: Listing
    _waiting: CancelScope | None = field(default=None, init=False)

    async def do(self, work: Work) -> bool:
        """Do `work`, asking for trust where it needs that; tell an error; say whether it went."""
        try:
            await work(self.gateway)
        except UntrustedError as error:
            return await self._trusted(error, work)
        except PerstackError as error:
            self.tell(error)
            return False
        except GivenUp:
            self.talk.say("Given up.")
            return False
        return True

    async def wait(self, answer: Awaitable[Answer]) -> Answer:
        """Return what may take long, as an answer of the registry does; Ctrl+C gives it up.

        Raises:
            GivenUp: it was; `do` says so.
        """
        try:
            with CancelScope() as self._waiting:
                return await answer
        finally:
            self._waiting = None
        raise GivenUp

    def give_up(self) -> bool:
        """Give up what is waited for; say whether there was anything that was not yet."""
        if self._waiting is None or self._waiting.cancel_called:
            return False
        self._waiting.cancel()
        return True

    async def _trusted(self, error: UntrustedError, work: Work) -> bool:
        cards = error.cards if isinstance(error, UntrustedExpertsError) else None
        if not await accepts(self.talk, error.demands, cards):
            self.talk.say("Nothing was started.")
            return False
        demands = error.demands
        return await self.do(lambda gateway: gateway.accept(demands)) and await self.do(work)

    def tell(self, error: PerstackError) -> None:
        """Say what went wrong, and what helps."""
        path, message = self.hearing.pump.definitions.path, error.message
        self.talk.say(f"Error: {flat(shortened(message, path) if path else message)}")
        if error.hint:
            self.talk.say(f"Hint: {flat(error.hint)}")

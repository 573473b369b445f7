"""A model behind a breaker."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from perstack.domain.ids import RunId
from perstack.domain.usage import ModelPrice
from perstack.errors import ProviderError
from perstack.ports.model import ChatModel, Generation, ModelRequest, Spoken
from perstack.providers.breaker import Breaker, Outcome, Permit

# The engine cancels what takes too long by another clock than the breaker's.
_NEARLY: Final = 0.95


class GuardedModel:
    """A `ChatModel` behind a breaker. `timeout_s` is when the engine gives a generation up."""

    def __init__(self, model: ChatModel, breaker: Breaker, *, timeout_s: float) -> None:
        self._model = model
        self._breaker = breaker
        self._timeout_s = timeout_s

    @property
    def name(self) -> str:
        """The model's id at the vendor."""
        return self._model.name

    @property
    def context_window(self) -> int | None:
        """The context window in tokens, None when unknown."""
        return self._model.context_window

    @property
    def price(self) -> ModelPrice | None:
        """What tokens cost, None when no source states it."""
        return self._model.price

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
        """Ask once, unless the vendor is left alone; see `ports.model.ChatModel.stream`."""
        permit = await self._breaker.enter()
        outcome: Outcome = "unknown"
        reason = ""
        try:
            async with aclosing(self._model.stream(request)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Generation):
                        outcome = "answered"
                    yield piece
        except ProviderError as error:
            outcome = "failed" if is_vendors_fault(error) else "answered"
            reason = error.message
            raise
        finally:
            if outcome == "unknown" and self._is_overdue(permit):
                outcome, reason = "failed", f"no complete answer within {self._timeout_s:g} s"
            self._breaker.leave(permit, outcome, reason)

    def forget(self, run_id: RunId) -> None:
        """Drop what was kept for the run."""
        self._model.forget(run_id)

    async def aclose(self) -> None:
        """Close connections."""
        await self._model.aclose()

    def _is_overdue(self, permit: Permit) -> bool:
        return self._breaker.lasted_s(permit) >= self._timeout_s * _NEARLY


def is_vendors_fault(error: ProviderError) -> bool:
    """Tell whether the vendor, or the way to it, is out of order.

    It is not where the request is to blame (4xx), nor where it comes too early (429): that says
    itself when to come again.
    """
    if not error.retryable:
        return error.status is not None and error.status >= 500
    return error.status is None or error.status == 408 or error.status >= 500

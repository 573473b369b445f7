"""A model that is opened when it is first asked: a server starts without a key and at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import anyio

from perstack.config.model_table import facts_of
from perstack.domain.ids import RunId
from perstack.domain.settings import Settings
from perstack.domain.usage import ModelPrice
from perstack.errors import ConfigError, ProviderError
from perstack.ports.model import ChatModel, Generation, ModelRequest, Spoken


class LateModel:
    """A `ChatModel` whose name, window and price are the table's until it is opened."""

    def __init__(self, settings: Settings, opened: Callable[[], Awaitable[ChatModel]]) -> None:
        """`opened` opens the model; it is asked once, or again when it failed."""
        self._opened = opened
        self._name = settings.model
        self._facts = facts_of(settings.model, settings.models, provider=settings.provider.name)
        self._opening = anyio.Lock()
        self._model: ChatModel | None = None

    @property
    def name(self) -> str:
        """The model that is asked for."""
        return self._name if self._model is None else self._model.name

    @property
    def context_window(self) -> int | None:
        """The context window in tokens, None when unknown."""
        return self._facts.context_window if self._model is None else self._model.context_window

    @property
    def price(self) -> ModelPrice | None:
        """What tokens cost, None when no source states it."""
        return self._facts.price if self._model is None else self._model.price

    async def open(self) -> ChatModel:
        """Open it, once.

        Raises:
            ConfigError: the provider's key is not set, or its settings cannot be used.
        """
        async with self._opening:
            if self._model is None:
                self._model = await self._opened()
            return self._model

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
        """Ask it once.

        Raises:
            ProviderError: anything that went wrong; it cannot be opened, for one.
        """
        try:
            model = await self.open()
        except ConfigError as error:
            raise ProviderError(error.message, hint=error.hint) from error
        async with aclosing(model.stream(request)) as pieces:
            async for piece in pieces:
                yield piece

    def forget(self, run_id: RunId) -> None:
        """Drop what was kept for the run."""
        if self._model is not None:
            self._model.forget(run_id)

    async def aclose(self) -> None:
        """Close it, if it was opened."""
        if self._model is not None:
            await self._model.aclose()

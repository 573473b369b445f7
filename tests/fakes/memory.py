"""A memory to test with: callers, an embedder without data, and one that fails."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perstack.domain.ids import AgentId, RunId, SessionId
from perstack.domain.memory import Caller
from perstack.errors import ProviderError

ANA = Caller("ana@desk")


def agent(name: str, session: str | None = None) -> Caller:
    """Return an agent, of a session if that is named."""
    return Caller(
        "researcher",
        session_id=None if session is None else SessionId(session),
        agent_id=AgentId(name),
        run_id=RunId(f"run-{name}"),
    )


def visitor(session: str) -> Caller:
    """Return a person in a session."""
    return Caller("ana@desk", session_id=SessionId(session))


class WordEmbedder:
    """Vectors of the words of a text: the same words, the same vector. Notes what it was asked."""

    def __init__(self, name: str = "fake:words", dimensions: int = 64) -> None:
        self.asked: list[str] = []
        self.down = False
        self.broken = False
        self._name = name
        self._dimensions = dimensions

    @property
    def name(self) -> str:
        return self._name

    @property
    def dimensions(self) -> int | None:
        return self._dimensions

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.extend(texts)
        if self.down:
            raise ProviderError("the embedder is down")
        vectors = np.stack([self.vector(text) for text in texts])
        return vectors * np.float32("nan") if self.broken else vectors

    def vector(self, text: str) -> NDArray[np.float32]:
        """Return the vector of one text."""
        made = np.zeros(self._dimensions, np.float32)
        for word in text.lower().split():
            made += np.random.default_rng(zlib.crc32(word.encode())).standard_normal(
                self._dimensions, dtype=np.float32
            )
        length = float(np.linalg.norm(made))
        return made / np.float32(length or 1.0)

    async def open(self) -> WordEmbedder | None:
        """Be opened."""
        return self

    async def aclose(self) -> None:
        """Hold nothing."""


class LateEmbedder(WordEmbedder):
    """One that does not know how long its vectors are before it made one."""

    @property
    def dimensions(self) -> int | None:
        return self._dimensions if self.asked else None

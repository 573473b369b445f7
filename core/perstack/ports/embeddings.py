"""Turning texts into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Embedder(Protocol):
    """Makes vectors of length one, so that a dot product is the cosine of two texts."""

    @property
    def name(self) -> str:
        """Provider and model, such as `openai:text-embedding-3-small`: stored with each vector.

        Only vectors of the same name are ever compared.
        """
        ...

    @property
    def dimensions(self) -> int | None:
        """How many numbers a vector has, None while that is not known."""
        ...

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a row for each text: shape (len(texts), dimensions).

        Raises:
            ProviderError: the vendor cannot be asked or answered with something else.
        """
        ...

    async def aclose(self) -> None:
        """Close what it holds."""
        ...

"""Vectors from a vendor: texts are cut, sent in groups, and what comes back is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anyio import to_thread

from perstack.embeddings.http import Endpoint, JsonClient
from perstack.embeddings.vectors import batches, cut, no_rows, not_vectors, read_rows, stacked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Speech:
    """How a vendor is spoken to. `rows` returns a list of numbers for each of `count` texts.

    `rows` may return anything, which is checked. Bytes are those of UTF-8. `dimensions` are those
    of models that are known.
    """

    provider: str
    body: Callable[[str, Sequence[str]], Mapping[str, object]]
    rows: Callable[[object, int], object]
    most_texts: int
    most_text_bytes: int
    most_request_bytes: int
    dimensions: Mapping[str, int] = field(default_factory=dict[str, int])


class RemoteEmbedder:
    """Implements `ports.embeddings.Embedder` with requests to a vendor. Long texts are cut."""

    def __init__(self, speech: Speech, endpoint: Endpoint, *, model: str) -> None:
        self._speech = speech
        self._client = JsonClient(endpoint)
        self._vendor = endpoint.vendor
        self._model = model
        self._dimensions = speech.dimensions.get(model)

    @property
    def name(self) -> str:
        """Vendor and model."""
        return f"{self._speech.provider}:{self._model}"

    @property
    def dimensions(self) -> int | None:
        """How many numbers a vector has, None before the first of an unknown model."""
        return self._dimensions

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a row for each text; see `ports.embeddings.Embedder.embed`."""
        if not texts:
            return await to_thread.run_sync(no_rows, self._dimensions)
        speech = self._speech
        # Vendors refuse an empty text.
        sent = [cut(text, speech.most_text_bytes) or " " for text in texts]
        groups = batches(sent, most=speech.most_texts, most_bytes=speech.most_request_bytes)
        parts = [await self._ask(group) for group in groups]
        if {part.shape[1] for part in parts} != {self._dimensions or parts[0].shape[1]}:
            raise not_vectors(self._vendor)
        self._dimensions = int(parts[0].shape[1])
        return await to_thread.run_sync(stacked, parts)

    async def aclose(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def _ask(self, texts: Sequence[str]) -> NDArray[np.float32]:
        said = await self._client.post(self._speech.body(self._model, texts))
        return await to_thread.run_sync(self._read, said, len(texts))

    def _read(self, said: object, count: int) -> NDArray[np.float32]:
        return read_rows(self._speech.rows(said, count), count=count, source=self._vendor)

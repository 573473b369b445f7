"""Vectors from words and letters alone: no data, no network, always there.

They tell whether two texts are made of the same words, whatever their case, punctuation, endings
and order. They know nothing of meaning: another word for the same thing is another word.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from anyio import to_thread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIMENSIONS: Final = 512
# What comes later in a text does not count: a vector of so few numbers could not tell it.
MOST_CHARS: Final = 8_192

_AT_ONCE: Final = 64
_WORD: Final = re.compile(r"\w+")
# Scripts without spaces between words: Thai, Kana, Han.
_UNSPACED: Final = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
_GRAMS: Final = (3, 4)
_LITTLE: Final = 0.15
_LITTLE_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "a about all an and any are as at be by can could do does each every for from had has have "
        "he her his i if in into is it its me my of on or our please she so some than that the "
        "their them then there these they this those to us was we were what when where which who "
        "why will with would you your",
    )
)
_ENDINGS: Final = ("ations", "ation", "ings", "ing", "ies", "ers", "ed", "es", "s")
_SHORTEST_STEM: Final = 3


class HashedEmbedder:
    """Implements `ports.embeddings.Embedder` by counting hashes of words and pieces of words."""

    @property
    def name(self) -> str:
        """How they are made; another number when that changes."""
        return f"hashed:words-{DIMENSIONS}-1"

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        return DIMENSIONS

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a row for each text; see `ports.embeddings.Embedder.embed`."""
        from perstack.embeddings.vectors import no_rows, stacked

        if not texts:
            return await to_thread.run_sync(no_rows, DIMENSIONS)
        groups = [texts[start : start + _AT_ONCE] for start in range(0, len(texts), _AT_ONCE)]
        rows = [await to_thread.run_sync(hashed_rows, group) for group in groups]
        return await to_thread.run_sync(stacked, rows)

    async def aclose(self) -> None:
        """Nothing is held."""


def hashed_rows(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return a row of length one for each text."""
    import numpy as np

    rows = np.zeros((len(texts), DIMENSIONS), dtype=np.float64)
    for row, text in zip(rows, texts, strict=True):
        for feature, weight in _weights(text).items():
            place, sign = _place(feature)
            row[place] += sign * weight
        length = math.sqrt(float(row @ row))
        if length == 0:
            row[0] = length = 1.0
        row /= length
    return rows.astype(np.float32)


def _weights(text: str) -> dict[str, float]:
    """Return what counts in a text and how much; the tenth time counts less than the first."""
    folded = unicodedata.normalize("NFKC", text[:MOST_CHARS]).casefold()
    counts: Counter[str] = Counter()
    share: dict[str, float] = {}
    for token in _WORD.findall(folded):
        for feature, weight in _features(token):
            counts[feature] += 1
            share[feature] = weight
    if not counts:
        return {f"text {folded.strip()}": 1.0}
    return {feature: (1 + math.log(count)) * share[feature] for feature, count in counts.items()}


def _features(token: str) -> Iterator[tuple[str, float]]:
    rest = 0
    for run in _UNSPACED.finditer(token):
        yield from _of_word(token[rest : run.start()])
        yield from _of_run(run.group())
        rest = run.end()
    yield from _of_word(token[rest:])


def _of_word(word: str) -> Iterator[tuple[str, float]]:
    if not word:
        return
    weight = _LITTLE if word in _LITTLE_WORDS else 1.0
    yield f"word {_stem(word)}", weight
    edged = f" {word} "
    pieces = [edged[at : at + size] for size in _GRAMS for at in range(len(edged) - size + 1)]
    for piece in pieces:
        yield f"piece {piece}", weight / math.sqrt(len(pieces))


def _of_run(run: str) -> Iterator[tuple[str, float]]:
    """Yield the characters and the pairs of them: what comes nearest to words there."""
    for character in run:
        yield f"word {character}", 0.5
    for at in range(len(run) - 1):
        yield f"word {run[at : at + 2]}", 1.0


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)]
    return word


def _place(feature: str) -> tuple[int, int]:
    """Return where a feature is counted, and whether up or down: collisions even out so."""
    mixed = zlib.crc32(feature.encode(errors="replace")) * 2_654_435_761
    return (mixed >> 8) % DIMENSIONS, 1 if mixed >> 40 & 1 else -1

"""Arithmetic over vectors of texts. Loads NumPy: call it in a worker thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from perstack.errors import ProviderError
from perstack.ports.tasks import Ancestor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Sums in single precision differ in the seventh digit; the same text twice is to be 1.0.
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Similarity:
    """The ancestor that is most like a text, and the cosine of both."""

    ancestor: Ancestor
    cosine: float


def to_bytes(rows: NDArray[np.float32], number: int, dimensions: int | None) -> list[bytes]:
    """Return each row as little-endian float32 numbers, of length one (or zero, for no words).

    Raises:
        ProviderError: there are not `number` rows, or one of them is no vector of that size.
    """
    import numpy as np

    found = np.asarray(rows, dtype="<f4")
    regular = found.ndim == 2 and found.shape == (number, dimensions or found.shape[1])
    if not regular or not np.isfinite(found).all():
        raise ProviderError("the embedder gave something else than a vector for each text")
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return [row.tobytes() for row in found / np.where(lengths == 0, 1, lengths)]


def most_similar(own: bytes, ancestors: Sequence[Ancestor]) -> Similarity | None:
    """Return the ancestor most like `own`, the nearest of equals; None when none has a vector.

    Raises:
        ProviderError: the embedder's vectors are of different lengths.
    """
    import numpy as np

    known = [one for one in ancestors if one.vector]
    if not known:
        return None
    if any(len(one.vector or b"") != len(own) for one in known):
        raise ProviderError("the embedder's vectors are of different lengths")
    matrix = np.frombuffer(b"".join(one.vector or b"" for one in known), dtype="<f4")
    cosines = matrix.reshape(len(known), -1) @ np.frombuffer(own, dtype="<f4")
    rounded = np.round(np.clip(np.nan_to_num(cosines, nan=-1.0), -1.0, 1.0), _DIGITS)
    best = int(np.argmax(rounded))
    return Similarity(known[best], round(float(rounded[best]), _DIGITS))

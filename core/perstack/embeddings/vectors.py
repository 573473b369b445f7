"""What all embedders do with their numbers: check them and make vectors of length one.

What loads NumPy is called in a worker thread: that takes a moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perstack.errors import ProviderError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows with length one each; a row of zeros stays as it is."""
    import numpy as np

    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def read_rows(said: object, *, count: int, source: str) -> NDArray[np.float32]:
    """Return lists of numbers from a vendor as `count` rows of length one.

    Raises:
        ProviderError: they are something else; `source` is the vendor's name.
    """
    import numpy as np

    try:
        with np.errstate(over="ignore"):
            rows = np.asarray(said, dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise not_vectors(source) from error
    if rows.ndim != 2 or rows.shape[0] != count or not rows.shape[1] or not np.isfinite(rows).all():
        raise not_vectors(source)
    return unit_rows(rows)


def no_rows(dimensions: int | None) -> NDArray[np.float32]:
    """Return the vectors of no texts."""
    import numpy as np

    return np.zeros((0, dimensions or 0), dtype=np.float32)


def stacked(rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return rows, or groups of them, as one array."""
    import numpy as np

    return np.vstack(rows)


def not_vectors(source: str) -> ProviderError:
    """Return the error for an answer that holds no vectors of the texts that were sent."""
    return ProviderError(f"{source} answered with something that is no vector for each text")


def batches(texts: Sequence[str], *, most: int, most_bytes: int) -> list[list[str]]:
    """Return the texts in order in groups of at most `most`, and about `most_bytes` of UTF-8."""
    groups: list[list[str]] = []
    size = 0
    for text in texts:
        length = len(text.encode(errors="replace"))
        if not groups or len(groups[-1]) == most or size + length > most_bytes:
            groups.append([])
            size = 0
        groups[-1].append(text)
        size += length
    return groups


def cut(text: str, most_bytes: int) -> str:
    """Return the beginning of `text` that is at most `most_bytes` of UTF-8, without surrogates."""
    return text[:most_bytes].encode(errors="replace")[:most_bytes].decode(errors="ignore")

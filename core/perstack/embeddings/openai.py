"""How OpenAI is asked for vectors, and what speaks as it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perstack.config.table import is_table
from perstack.embeddings.http import items_of
from perstack.embeddings.remote import Speech

URL: Final = "https://api.openai.com/v1"
PATH: Final = "/embeddings"
MODEL: Final = "text-embedding-3-small"


def _body(model: str, texts: Sequence[str]) -> Mapping[str, object]:
    return {"model": model, "input": [*texts], "encoding_format": "float"}


def _rows(said: object, count: int) -> object:
    """Return the vectors in the order of the texts, which each names by its number."""
    found: dict[int, object] = {}
    for item in items_of(said, "data"):
        at = item.get("index") if is_table(item) else None
        if is_table(item) and isinstance(at, int):
            found[at] = item.get("embedding")
    return [found.get(at, ()) for at in range(count)]


# A model reads 8,192 tokens of a text and 300,000 of a request. A token of what people write has
# a byte and a half at the very least, and about four.
OPENAI: Final = Speech(
    provider="openai",
    body=_body,
    rows=_rows,
    most_texts=256,
    most_text_bytes=12_000,
    most_request_bytes=400_000,
    dimensions={"text-embedding-3-small": 1_536, "text-embedding-3-large": 3_072},
)

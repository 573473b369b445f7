"""How Ollama is asked for vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perstack.embeddings.http import items_of
from perstack.embeddings.remote import Speech

URL: Final = "http://localhost:11434"
PATH: Final = "/api/embed"
MODEL: Final = "nomic-embed-text"


def _body(model: str, texts: Sequence[str]) -> Mapping[str, object]:
    return {"model": model, "input": [*texts], "truncate": True}


def _rows(said: object, _count: int) -> object:
    return [*items_of(said, "embeddings")]


# Ollama itself cuts what is longer than its model reads; the bound keeps requests small.
OLLAMA: Final = Speech(
    provider="ollama",
    body=_body,
    rows=_rows,
    most_texts=64,
    most_text_bytes=32_000,
    most_request_bytes=256_000,
    dimensions={"nomic-embed-text": 768},
)

"""Reading a vendor's JSON without trusting its shape, and writing ours."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar, cast

from pydantic import JsonValue

EMPTY: Final[Mapping[str, object]] = {}
MOST_TOKENS: Final = 1_000_000_000
MOST_KEPT: Final = 256

K = TypeVar("K")
V = TypeVar("V")


def obj(value: object) -> Mapping[str, object]:
    """Return `value` if it is a JSON object, else an empty one."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else EMPTY


def items(value: object) -> Sequence[object]:
    """Return `value` if it is a JSON array, else an empty one."""
    return cast("Sequence[object]", value) if isinstance(value, list) else ()


def text(value: object) -> str:
    """Return `value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """Return a number of tokens, None if it is not a whole number from 0 to a billion."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MOST_TOKENS else None


def clean(said: str) -> str:
    """Return `said` fit to be stored: surrogate pairs joined, lone surrogates replaced."""
    try:
        said.encode()
    except UnicodeEncodeError:
        return said.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return said


def parse_args(raw: str) -> dict[str, JsonValue] | None:
    """Return the JSON object in `raw`, None when it holds anything else."""
    try:
        value: object = json.loads(raw, parse_constant=_refuse)
        return None if obj(value) is EMPTY else storable(value)
    except (ValueError, RecursionError):
        return None


def storable(value: object) -> dict[str, JsonValue]:
    """Return a JSON object fit to be stored, see `clean`.

    Raises:
        ValueError: it holds what is no JSON.
    """
    whole = json.dumps(value, ensure_ascii=False, allow_nan=False)
    cleaned = clean(whole)
    kept = value if cleaned is whole else json.loads(cleaned)
    return cast("dict[str, JsonValue]", kept)


def encode(value: object) -> bytes:
    """Return compact JSON; a lone surrogate becomes a question mark."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def with_array(document: bytes, key: str, elements: Sequence[bytes]) -> bytes:
    """Return a JSON object (not an empty one) with one more member: an array of what is JSON.

    A long conversation is copied once, not three times.
    """
    pieces = list(elements) or [b""]
    pieces[0] = b"%b,%b:[%b" % (document[:-1], encode(key), pieces[0])
    pieces[-1] += b"]}"
    return b",".join(pieces)


class Kept(Generic[K, V]):
    """Makes something of a value once, however often that very value is asked about."""

    def __init__(self, make: Callable[[K], V]) -> None:
        self._make = make
        self._made: dict[int, tuple[K, V]] = {}

    def of(self, value: K) -> V:
        """Return what is made of `value`, which must not change."""
        known = self._made.get(id(value))
        if known is None:
            if len(self._made) >= MOST_KEPT:
                self._made.clear()
            known = self._made[id(value)] = (value, self._make(value))
        return known[1]


def file_text(mime_type: str, encoded_data: str) -> str | None:
    """Return a text file's content, None when the file is not text."""
    if not mime_type.startswith("text/") and mime_type != "application/json":
        return None
    try:
        return base64.b64decode(encoded_data, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        return None


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not JSON")

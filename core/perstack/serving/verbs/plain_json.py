"""JSON that every program can read: finite numbers, whole characters, not without end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, to_json

from perstack.errors import UnfitError

MOST_DEEP: Final = 64
MOST_VALUES: Final = 100_000


def check_plain(arguments: Mapping[str, JsonValue]) -> None:
    """Raise an UnfitError unless the arguments are JSON that can be kept and told again.

    They may be 64 levels deep and hold 100,000 values; no schema can say that.
    """
    level: list[JsonValue] = [dict(arguments)]
    seen = 0
    for _ in range(MOST_DEEP + 1):
        level = [inner for value in level for inner in _within(value)]
        if not level:
            return
        seen += len(level)
        if seen > MOST_VALUES:
            raise UnfitError(f"the arguments hold more than {MOST_VALUES:,} values")
    raise UnfitError(f"the arguments are nested deeper than {MOST_DEEP} levels")


def sendable(content: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return it without halves of characters, which may have got into what was kept."""
    try:
        to_json(content)
    except PydanticSerializationError:
        return {_whole(name): _made_whole(value) for name, value in content.items()}
    return content


def _within(value: JsonValue) -> Iterator[JsonValue]:
    match value:
        case dict():
            for name in value:
                _check_text(name)
            yield from value.values()
        case list():
            yield from value
        case str():
            _check_text(value)
        case float() if not math.isfinite(value):
            raise UnfitError(f"{value} is no number that JSON has")
        case _:
            pass


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UnfitError("a text holds half a character (a lone surrogate)") from None


def _whole(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _made_whole(value: JsonValue) -> JsonValue:
    match value:
        case dict():
            return {_whole(name): _made_whole(inner) for name, inner in value.items()}
        case list():
            return [_made_whole(inner) for inner in value]
        case str():
            return _whole(value)
        case _:
            return value

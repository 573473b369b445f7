"""Points in time: Unix milliseconds inside, ISO 8601 (UTC, with milliseconds) in JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def iso8601(moment_ms: int) -> str:
    """Return `moment_ms` as `2026-01-31T12:00:00.000Z`."""
    moment = _EPOCH + moment_ms * _MILLISECOND
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso8601(text: str) -> int:
    """Return the Unix milliseconds that `text` says; without a zone it is UTC.

    Raises:
        ValueError: it says no point in time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND


def _read(value: object) -> object:
    return from_iso8601(value) if isinstance(value, str) else value


Moment = Annotated[
    int, BeforeValidator(_read), PlainSerializer(iso8601, return_type=str, when_used="json")
]

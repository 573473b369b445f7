"""What an HTTP status and a vendor's headers mean; knows no HTTP library."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from perstack.errors import ProviderError


def too_large() -> ProviderError:
    """Return the error for an answer beyond all bounds."""
    return ProviderError(
        "the model's answer is larger than Perstack accepts",
        hint="ask for less at once, or for the answer to be written to files",
    )


def is_retryable(status: int) -> bool:
    """Return whether asking again may help after this HTTP status."""
    return status in {408, 409, 425, 429} or status >= 500


def retry_after_s(headers: Mapping[str, str], *, now_s: float | None = None) -> float | None:
    """Return how many seconds the vendor wants us to wait, None when it says nothing usable.

    `retry-after` is seconds or an HTTP date; `retry-after-ms` is finer and goes first.
    """
    exact = _number(headers.get("retry-after-ms"))
    if exact is not None:
        return exact / 1000
    said = headers.get("retry-after")
    seconds = _number(said)
    if seconds is not None or said is None:
        return seconds
    try:
        moment = parsedate_to_datetime(said).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
    return max(0.0, moment - (time.time() if now_s is None else now_s))


def _number(said: str | None) -> float | None:
    try:
        value = float(said or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None

"""How often somebody may ask: buckets that fill again as time goes by."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import anyio

from perstack.errors import LimitError

MOST_KEYS: Final = 10_000


class SlowDownError(LimitError):
    """Too much was asked for; `retry_after_s` is when to come again, in seconds."""

    code = "limit.rate"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        wait = max(1, math.ceil(retry_after_s))
        super().__init__(message, hint=f"come again in {wait} s")
        self.retry_after_s = wait


@dataclass(slots=True)
class _Bucket:
    left: float
    seen_s: float


class Buckets:
    """A bucket a key: `burst` at once, then `per_s` a second. The longest unused are forgotten."""

    def __init__(self, *, per_s: float, burst: int, what: str = "Too many requests") -> None:
        self._per_s = per_s
        self._burst = burst
        self._what = what
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, key: str) -> None:
        """Take one out.

        Raises:
            SlowDownError: there is none now.
        """
        now = anyio.current_time()
        bucket = self._buckets.pop(key, None) or _Bucket(self._burst, now)
        bucket.left = min(self._burst, bucket.left + (now - bucket.seen_s) * self._per_s)
        bucket.seen_s = now
        self._buckets[key] = bucket
        while len(self._buckets) > MOST_KEYS:
            self._buckets.popitem(last=False)
        if bucket.left < 1:
            raise SlowDownError(self._what, retry_after_s=(1 - bucket.left) / self._per_s)
        bucket.left -= 1

    def give_back(self, key: str) -> None:
        """Put one back: it was no attempt that counts."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.left = min(self._burst, bucket.left + 1)

"""How often somebody may ask: buckets that fill again as time goes by."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import anyio

from perstack.serving.rest.errors import SlowDownError

MOST_KEYS: Final = 10_000


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


class LoginLimits:
    """How often a password may be guessed: from an address, and for an account."""

    def __init__(self) -> None:
        what = "Too many attempts to sign in"
        self._addresses = Buckets(per_s=20 / 60, burst=20, what=what)
        self._accounts = Buckets(per_s=10 / 60, burst=10, what=what)

    def attempt(self, address: str, account: str) -> None:
        """Count an attempt.

        Raises:
            SlowDownError: there were too many.
        """
        self._addresses.take(address)
        self._accounts.take(account)

    def succeeded(self, address: str, account: str) -> None:
        """Say that the attempt was none of somebody who guesses."""
        self._addresses.give_back(address)
        self._accounts.give_back(account)

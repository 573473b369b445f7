"""Time and identity from outside, so that tests can supply both."""

from __future__ import annotations

import secrets
import time
import uuid
from typing import Final, Protocol

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_ALPHABET: Final = _LETTERS + "0123456789"
# 124 bits are what an id holds; with these many more, no id is likelier than another by 2**-68.
_BITS: Final = 192


class Clock(Protocol):
    """Wall-clock time."""

    def now_ms(self) -> int:
        """Unix milliseconds."""
        ...


class Ids(Protocol):
    """A source of fresh ids: cuid2-shaped ones for runs, UUIDs for what seed 003 names."""

    def new(self) -> str:
        """Return an id that nothing else has."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return time.time_ns() // 1_000_000


class RandomIds:
    """Ids nobody can guess."""

    def new(self) -> str:
        """Return 24 lower-case letters and digits, the first a letter."""
        number, first = divmod(secrets.randbits(_BITS), len(_LETTERS))
        made = [_LETTERS[first]]
        for _ in range(23):
            number, place = divmod(number, len(_ALPHABET))
            made.append(_ALPHABET[place])
        return "".join(made)


class Uuids:
    """Random UUIDs (version 4), as agents, identities, sessions, tasks and memories have."""

    def new(self) -> str:
        """Return 36 characters."""
        return str(uuid.uuid4())

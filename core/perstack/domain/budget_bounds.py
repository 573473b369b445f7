"""The most that a job's limits may be raised by at once; loads no models."""

from __future__ import annotations

from typing import Final

MOST_STEPS: Final = 1_000_000
MOST_TOKENS: Final = 1_000_000_000_000
MOST_USD: Final = 1_000_000.0
MOST_MS: Final = 31_536_000_000

"""How long to wait before a failed generation is asked for again."""

from __future__ import annotations

import random
from typing import Final

FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0
LONGEST_RETRY_AFTER_S: Final = 120.0


def delay_s(attempt: int, retry_after_s: float | None, *, rng: random.Random) -> float:
    """Return the wait in seconds before attempt number `attempt` + 1 (counting from 1).

    At least what the vendor asked for, up to two minutes, and the exponential backoff spread over
    its whole length on top; else that with full jitter in its upper half. Either way, many runs
    that failed together do not come back together, the less the more often it happens.
    """
    backoff = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(attempt - 1, 10))
    if retry_after_s is None:
        return backoff * rng.uniform(0.5, 1.0)
    return min(retry_after_s, LONGEST_RETRY_AFTER_S) + rng.uniform(0.0, backoff)

"""Leaves a vendor alone that fails again and again: all runs of a process share one breaker.

    closed ── 5 failures in a row ──► open ── 60 s, then twice as long ──► half open
       ▲                                ▲                                    │  │
       └────────── 2 answers ───────────┼────────────────────────────────────┘  │
                                        └──────────── 1 failure ────────────────┘

Open, generations fail at once. Half open, one is made at a time, and the others wait for how it
ends. Without it, each of a job's hundred runs would find out for itself, in all its retries, that
the vendor is down.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import anyio

from perstack.errors import ProviderError

FAILURES: Final = 5
COOL_DOWN_S: Final = 60.0
LONGEST_COOL_DOWN_S: Final = 300.0
ANSWERS: Final = 2

BreakerState = Literal["closed", "open", "half open"]
Outcome = Literal["answered", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to ask once. What comes of it counts only while the breaker is as it was then."""

    era: int
    since_s: float


class Breaker:
    """Counts how generations end. `now_s` is a clock in seconds that never goes back.

    `name` says in messages who is left alone.
    """

    def __init__(
        self,
        name: str,
        *,
        now_s: Callable[[], float] = time.monotonic,
        cool_down_s: float = COOL_DOWN_S,
    ) -> None:
        self._name = name
        self._now_s = now_s
        self._first_cool_down_s = cool_down_s
        self._cool_down_s = cool_down_s
        self._era = 0
        self._failures = 0
        self._answers = 0
        self._tripped = False
        self._open_until_s = 0.0
        self._trial: anyio.Event | None = None
        self._last_failure = ""

    @property
    def state(self) -> BreakerState:
        """Whether generations are made freely, not at all, or one at a time."""
        if not self._tripped:
            return "closed"
        return "open" if self._left_s > 0 else "half open"

    async def enter(self) -> Permit:
        """Return once a generation may be made; end it with `leave`.

        Waits while another one tries whether the vendor is back, as long as that takes.

        Raises:
            ProviderError: the breaker is open; `retry_after_s` says for how much longer.
        """
        while self._tripped:
            if (left_s := self._left_s) > 0:
                raise self._refusal(left_s)
            if self._trial is None:
                self._trial = anyio.Event()
                break
            await self._trial.wait()
        return Permit(self._era, self._now_s())

    def leave(self, permit: Permit, outcome: Outcome, reason: str = "") -> None:
        """Say how a generation ended: "unknown" if it was given up for a reason of ours."""
        if permit.era != self._era:
            return
        if self._trial is not None:
            self._trial.set()
            self._trial = None
        match outcome:
            case "failed":
                self._last_failure = reason
                self._fail()
            case "answered":
                self._answer()
            case "unknown":
                pass

    def lasted_s(self, permit: Permit) -> float:
        """Return for how many seconds the generation has been under way."""
        return self._now_s() - permit.since_s

    @property
    def _left_s(self) -> float:
        return self._open_until_s - self._now_s()

    def _fail(self) -> None:
        self._failures += 1
        if not self._tripped and self._failures < FAILURES:
            return
        if self._tripped:
            self._cool_down_s = min(LONGEST_COOL_DOWN_S, self._cool_down_s * 2)
        self._open_until_s = self._now_s() + self._cool_down_s
        self._turn(tripped=True)

    def _answer(self) -> None:
        self._failures = 0
        if not self._tripped:
            return
        self._answers += 1
        if self._answers >= ANSWERS:
            self._cool_down_s = self._first_cool_down_s
            self._turn(tripped=False)

    def _turn(self, *, tripped: bool) -> None:
        self._era += 1
        self._tripped = tripped
        self._answers = 0
        if not tripped:
            self._failures = 0

    def _refusal(self, left_s: float) -> ProviderError:
        return ProviderError(
            f"{self._name} keeps failing and is left alone for another {max(1, round(left_s))} s;"
            f" the last time: {self._last_failure}",
            retryable=True,
            retry_after_s=left_s,
        )


class Breakers:
    """The breakers of a process: one for each provider, address and model."""

    def __init__(
        self, *, now_s: Callable[[], float] = time.monotonic, cool_down_s: float = COOL_DOWN_S
    ) -> None:
        self._now_s = now_s
        self._cool_down_s = cool_down_s
        self._known: dict[tuple[str, str, str], Breaker] = {}

    def of(self, provider: str, address: str, model: str) -> Breaker:
        """Return the one that all who ask this model there share."""
        key = (provider, address, model)
        if key not in self._known:
            self._known[key] = Breaker(
                f"{model} of {provider}", now_s=self._now_s, cool_down_s=self._cool_down_s
            )
        return self._known[key]

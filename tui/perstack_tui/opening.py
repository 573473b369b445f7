"""What the app is opened with."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from perstack.domain.ids import ExpertKey, JobId
from perstack.ports.system import Clock, SystemClock
from perstack_tui.ports.gateway import Gateway
from perstack_tui.settings import Settings
from perstack_tui.state.pump import Fold


def _stay(code: int, after_s: float) -> None:
    """End no process: whoever shows the app may do more than that."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Everything from outside, clocks included; `signals` maps signal numbers to exit codes.

    `end_after(code, seconds)` sees to it that the process has ended by then, come what may.
    """

    workspace: Path
    open_gateway: Callable[[], Awaitable[Gateway]]
    make_fold: Callable[[], Fold]
    theme: str = "dark"
    settings: Settings = field(default_factory=Settings)
    expert_key: ExpertKey | None = None
    query: str | None = None
    job_id: JobId | None = None
    goes_on: bool = False
    observing: bool = False
    reviewer: str = "you"
    clock: Clock = field(default_factory=SystemClock)
    monotonic: Callable[[], float] = time.monotonic
    signals: dict[int, int] = field(default_factory=dict[int, int])
    end_after: Callable[[int, float], None] = _stay

"""What the app is opened with."""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from perstack.domain.ids import ExpertKey, JobId
from perstack.ports.system import Clock, SystemClock
from perstack_tui.palettes import Palette
from perstack_tui.places import Places
from perstack_tui.ports.gateway import Gateway
from perstack_tui.settings import Settings
from perstack_tui.state.pump import Fold
from perstack_tui.state.session import Session


def _stay(code: int, after_s: float) -> None:
    """End no process: whoever shows the app may do more than that."""


def _log_nowhere() -> None:
    """Leave the log to whoever shows the app."""


def _note_nothing() -> None:
    """Leave the process as it is."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Everything from outside, clocks included; `signals` maps signal numbers to exit codes.

    `answers`: what the job asks that it goes on with is opened at once; with a `query`, which was
    an answer, what it asks next.

    `places` are the user's files, None for a cockpit that reads and keeps none; `own_palettes` are
    those of them that were read before, `session` is what was remembered of the workspace, and
    `trouble` what of it could not be used. `environ` is the process's environment.
    `end_after(code, seconds)` sees to it that the process has ended by then, come what may.
    `loaded` is called once, when all history was read. `open_log` sends the log to the
    workspace's file, for what happens before the runtime does.
    """

    workspace: Path
    open_gateway: Callable[[], Awaitable[Gateway]]
    make_fold: Callable[[], Fold]
    theme: str = "dark"
    settings: Settings = field(default_factory=Settings)
    places: Places | None = None
    own_palettes: Mapping[str, Palette] = field(default_factory=dict[str, Palette])
    session: Session | None = None
    trouble: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    expert_key: ExpertKey | None = None
    query: str | None = None
    job_id: JobId | None = None
    goes_on: bool = False
    answers: bool = False
    observing: bool = False
    reviewer: str = "you"
    host: str = field(default_factory=socket.gethostname)
    clock: Clock = field(default_factory=SystemClock)
    monotonic: Callable[[], float] = time.monotonic
    signals: dict[int, int] = field(default_factory=dict[int, int])
    end_after: Callable[[int, float], None] = _stay
    open_log: Callable[[], None] = _log_nowhere
    loaded: Callable[[], None] = _note_nothing

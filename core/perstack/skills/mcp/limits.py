"""How long and how often things may take. Times in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds for every tool server of a run.

    `slow_start_s` is for commands that may download the server first (npx, uvx). A server has
    `leave_s` to end by itself once its input is closed, then `grace_s` once it is asked to; one
    at an address has `leave_s` to take note that we leave. `connect_s` bounds each attempt to
    reach an address, `idle_s` how long a stream that a server keeps open may be silent, `reopen_s`
    how long at least is between two openings of such streams.
    """

    start_s: float = 15.0
    slow_start_s: float = 60.0
    call_s: float = 120.0
    ping_s: float = 2.0
    leave_s: float = 1.0
    grace_s: float = 0.5
    restarts: int = 3
    connect_s: float = 10.0
    idle_s: float = 3_600.0
    reopen_s: float = 1.0


MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MAX_PAGES = 50
MAX_TOOLS = 1_000
MAX_DESCRIPTION_CHARS = 10_000
MAX_SCHEMA_CHARS = 100_000

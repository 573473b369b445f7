"""The table of agents as `agent watch` shows it: 79 columns wide, or one JSON object."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from perstack.domain.agents import Agent, AgentStatus
from perstack.domain.base import Model

Tone = Literal["plain", "bold", "dim", "green", "yellow", "red", "grey"]

WIDTH: Final = 79
_LONGEST: Final = 500
TITLE: Final = "AISTACK Agent Monitor"
FOOT: Final = "Press Ctrl+C to exit"
EMPTY: Final = ("No active agents", "Spawn agents with: perstack agent spawn -t <type>")

_HEAD_LINES: Final = 5
_FOOT_LINES: Final = 2
_STATUS_WIDTH: Final = 9
_NAME_WIDTH: Final = 21
_TYPE_WIDTH: Final = 13
_UPTIME_WIDTH: Final = 11
_TASK_AT: Final = _STATUS_WIDTH + _NAME_WIDTH + _TYPE_WIDTH + _UPTIME_WIDTH
_CELLS: Final[Mapping[AgentStatus, tuple[str, Tone]]] = {
    "running": ("● RUN", "green"),
    "idle": ("○ IDLE", "yellow"),
    "completed": ("✓ DONE", "green"),
    "failed": ("✗ FAIL", "red"),
    "stopped": ("■ STOP", "grey"),
}
# The seed's order, in which the sum of the second line is broken down.
_ORDER: Final[tuple[AgentStatus, ...]] = ("running", "idle", "failed", "completed", "stopped")


class StatusCounts(Model):
    """How many agents have each status."""

    idle: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    stopped: int = 0


class WatchStats(Model):
    """How many are there that are not stopped, how many may be, and how many of each status."""

    active: int
    max_concurrent: int
    by_status: StatusCounts


class WatchSnapshot(Model):
    """Agents, running ones first and then the newest, with the counts of all of them."""

    agents: tuple[Agent, ...]
    stats: WatchStats


@dataclass(frozen=True, slots=True)
class WatchSpan:
    """Part of a line, and how it is to look."""

    text: str
    tone: Tone = "plain"


WatchLine = tuple[WatchSpan, ...]


def snapshot(
    agents: Sequence[Agent],
    *,
    max_concurrent: int,
    active: int | None = None,
) -> WatchSnapshot:
    """Return agents in the order in which they are watched, with their counts.

    `active` is how many are active of all, where `agents` are only those that a filter left.
    """
    counts = StatusCounts.model_validate(_count(agents))
    here = len(agents) - counts.stopped
    return WatchSnapshot(
        agents=tuple(in_order(agents)),
        stats=WatchStats(
            active=here if active is None else active,
            max_concurrent=max_concurrent,
            by_status=counts,
        ),
    )


def in_order(agents: Sequence[Agent]) -> list[Agent]:
    """Return running agents first, then the newest first; those of one moment keep their order."""
    return sorted(agents, key=lambda agent: (agent.status != "running", -agent.created_at))


def duration_text(elapsed_ms: int) -> str:
    """Return a duration with its two largest units, in whole seconds: `45s`, `2m 30s`, `1h 1m`."""
    seconds = max(elapsed_ms, 0) // 1_000
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3_600:
        return f"{seconds // 60}m {seconds % 60}s"
    return f"{seconds // 3_600}h {seconds % 3_600 // 60}m"


def task_text(agent: Agent) -> str:
    """Return what an agent is doing, on one line."""
    if agent.paused_at is not None and agent.status not in ("completed", "failed"):
        return _paused_text(agent)
    if agent.current_task and agent.status == "running":
        return _one_line(agent.current_task)
    match agent.status:
        case "running":
            return "Processing..."
        case "failed":
            return f"Error: {_one_line(agent.last_error)}" if agent.last_error else "Error"
        case "idle":
            return "—"
        case "completed":
            return "Done"
        case "stopped":
            return "Stopped"


def frame(shown: WatchSnapshot, *, now_ms: int, clock: str, width: int = WIDTH) -> list[WatchLine]:
    """Return the whole picture, line by line. `clock` is the time of day as it is to be read.

    Rules are `WIDTH` columns long; where there are more (`width`), tasks go on beyond them.
    """
    stats = shown.stats
    lines: list[WatchLine] = [
        _ends(WatchSpan(TITLE, "bold"), WatchSpan(f"Last updated: {clock}", "dim")),
        (WatchSpan("═" * WIDTH),),
        _ends(WatchSpan(_sum(stats)), WatchSpan(f"Limit: {stats.max_concurrent}")),
        (WatchSpan("─" * WIDTH),),
    ]
    if shown.agents:
        lines.append((WatchSpan(_HEADER, "dim"),))
        lines += [_row(agent, now_ms, max(width, WIDTH)) for agent in shown.agents]
    else:
        lines += [(WatchSpan(text, "dim"),) for text in EMPTY]
    return [*lines, (WatchSpan("─" * WIDTH),), (WatchSpan(FOOT, "dim"),)]


def plain(lines: Sequence[WatchLine]) -> str:
    """Return lines as text, without any looks."""
    return "\n".join("".join(span.text for span in line).rstrip() for line in lines)


def _paused_text(agent: Agent) -> str:
    why = _one_line(agent.pause_reason)
    # Where nobody gave a reason, what stands there says who it was.
    return why if why.startswith("paused by ") else f"paused: {why}" if why else "paused"


def _row(agent: Agent, now_ms: int, width: int) -> WatchLine:
    cell, tone = _CELLS[agent.status]
    uptime = duration_text(now_ms - agent.created_at)
    rest = (
        _cell(agent.name, _NAME_WIDTH)
        + _cell(agent.type, _TYPE_WIDTH)
        + _cell(uptime, _UPTIME_WIDTH)
        + clipped(task_text(agent), width - _TASK_AT)
    )
    return (WatchSpan(cell.ljust(_STATUS_WIDTH), tone), WatchSpan(rest))


def _cell(text: str, width: int) -> str:
    """Return `text` in a column `width` wide, of which the last place stays empty."""
    line = clipped(_one_line(text), width - 1)
    return line + " " * (width - columns(line))


def fitted(lines: Sequence[WatchLine], *, columns_: int, rows: int) -> list[WatchLine]:
    """Return the picture as a terminal has room for it: nothing wraps and nothing scrolls away.

    What goes first are agents, the last ones; how many is said.
    """
    kept = [_narrowed(line, columns_) for line in lines]
    if len(kept) <= rows:
        return kept
    room = rows - _HEAD_LINES - _FOOT_LINES - 1
    if room < 1:
        return kept[: max(rows, 1)]
    left = len(kept) - _HEAD_LINES - _FOOT_LINES - room
    more = (WatchSpan(f"… {left} more", "dim"),)
    return [*kept[: _HEAD_LINES + room], more, *kept[-_FOOT_LINES:]]


def _narrowed(line: WatchLine, room: int) -> WatchLine:
    made: list[WatchSpan] = []
    for span in line:
        if room <= 0:
            break
        text = clipped(span.text, room)
        made.append(WatchSpan(text, span.tone))
        room -= columns(text)
    return tuple(made)


def clipped(line: str, room: int) -> str:
    """Return as much of `line` as fits into `room` columns."""
    if columns(line) <= room:
        return line
    line = line[:room]
    while columns(line) > room - 1:
        line = line[:-1]
    return f"{line}…"


def columns(line: str) -> int:
    """Return how many columns of a terminal a text takes, to the best of Unicode's knowledge."""
    if line.isascii():
        return len(line)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in line)
    return len(line) + wide - sum(unicodedata.combining(letter) > 0 for letter in line)


def _sum(stats: WatchStats) -> str:
    counts = stats.by_status.model_dump(by_alias=False)
    parts = [f"{counts[status]} {status}" for status in _ORDER if counts[status]]
    found = f"Agents: {stats.active} active"
    return f"{found} ({', '.join(parts)})" if parts else found


def _ends(left: WatchSpan, right: WatchSpan) -> WatchLine:
    gap = max(WIDTH - len(left.text) - len(right.text), 1)
    return (left, WatchSpan(" " * gap), right)


def _count(agents: Sequence[Agent]) -> dict[AgentStatus, int]:
    counts: dict[AgentStatus, int] = {}
    for agent in agents:
        counts[agent.status] = counts.get(agent.status, 0) + 1
    return counts


def _one_line(text: str | None) -> str:
    """Return text that cannot move the cursor: other people wrote it."""
    found = (text or "")[:_LONGEST]
    if not found.isprintable():
        found = "".join(letter if letter.isprintable() else " " for letter in found)
    return " ".join(found.split())


_HEADER: Final = (
    "STATUS".ljust(_STATUS_WIDTH)
    + "NAME".ljust(_NAME_WIDTH)
    + "TYPE".ljust(_TYPE_WIDTH)
    + "UPTIME".ljust(_UPTIME_WIDTH)
    + "TASK"
)

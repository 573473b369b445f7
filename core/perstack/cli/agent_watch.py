"""`perstack agent watch`: the table of agents of all processes, painted anew every few seconds."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from perstack.cli import agent_options as a
from perstack.cli import options as o

if TYPE_CHECKING:
    from anyio import CancelScope

    from perstack.domain.agents import Agent, AgentStatus
    from perstack.projection.agent_watch import WatchLine, WatchSnapshot
    from perstack.services.agents import AgentService

STOPPED: Final = "Watch stopped."
COCKPIT: Final = "perstack, without a command, shows them live"
BAD_INTERVAL: Final = "Interval must be at least 1 second"
_MOST_S: Final = 86_400
_SGR: Final = {"bold": "1", "dim": "2", "green": "32", "yellow": "33", "red": "31", "grey": "90"}
_HIDE, _SHOW, _CLEAR, _HOME, _TO_END, _BELOW = (
    "\x1b[?25l",
    "\x1b[?25h",
    "\x1b[2J\x1b[H",
    "\x1b[H",
    "\x1b[K",
    "\x1b[J",
)

Interval = Annotated[
    str, typer.Option("-i", "--interval", metavar="SECONDS", help="Time between looks (2).")
]
OfSession = Annotated[
    str | None, typer.Option("-s", "--session", metavar="ID", help="Only those of a session.")
]
OfType = Annotated[
    str | None, typer.Option("-t", "--type", metavar="TYPE", help="Only those of a type.")
]
WithStatus = Annotated[
    str | None,
    typer.Option("--status", metavar="STATUS", help="idle, running, completed, failed or stopped."),
]
Snapshot = Annotated[bool, typer.Option("--json", help="Print one snapshot as JSON and end.")]
NoClear = Annotated[bool, typer.Option("--no-clear", help="Leave what was shown before.")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which agents are shown."""

    session: str | None
    type: str | None
    status: AgentStatus | None

    def has(self, agent: Agent) -> bool:
        """Tell whether it is one of them."""
        return (
            (self.session is None or agent.session_id == self.session)
            and (self.type is None or agent.type == self.type)
            and (self.status is None or agent.status == self.status)
        )


def watch(
    interval: Interval = "2",
    session: OfSession = None,
    type_: OfType = None,
    status: WithStatus = None,
    as_json: Snapshot = False,
    no_clear: NoClear = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
) -> None:
    """Watch the agents of every process. The cockpit (`perstack`) shows them live."""
    seconds = _seconds(interval)
    wanted = Wanted(session, type_, None if status is None else _status(status))
    project = a.Place(workspace, config, trust).usable_project()

    async def ask(agents: AgentService) -> None:
        look = _Look(agents, wanted, workspace)
        if as_json:
            typer.echo(a.json_of(await look.snapshot()))
        else:
            await _Watching(look, seconds, clears=not no_clear).run()

    a.with_agents(workspace, project, ask)


def _seconds(text: str) -> int:
    """Return the interval.

    Raises:
        UsageError: it is no whole number of seconds, 1 or more.
    """
    from perstack.errors import UsageError

    try:
        seconds = int(text)
    except ValueError:
        seconds = 0
    if seconds < 1:
        raise UsageError(BAD_INTERVAL)
    return min(seconds, _MOST_S)


def _status(text: str) -> AgentStatus:
    """Return a status that there is.

    Raises:
        UsageError: it is none.
    """
    from typing import get_args

    from perstack.domain.agents import AgentStatus
    from perstack.services.bounds import check_word

    return check_word(text, "--status", get_args(AgentStatus))


@dataclass(frozen=True, slots=True)
class _Look:
    """Sees the agents of a folder; where nothing was ever written there are none."""

    agents: AgentService
    wanted: Wanted
    workspace: Path

    async def snapshot(self) -> WatchSnapshot:
        """Return those that are wanted, with what there is of all.

        Raises:
            StorageError: the database cannot be read.
        """
        import anyio.to_thread

        from perstack.domain.agents import MAX_SPAWNED
        from perstack.ports.agents import AgentFilter
        from perstack.ports.system import SystemClock
        from perstack.projection.agent_watch import snapshot
        from perstack.services.agent_roll import RECENT_MS
        from perstack.wiring import has_database

        found: Sequence[Agent] = ()
        if await anyio.to_thread.run_sync(has_database, self.workspace.absolute()):
            recent = AgentFilter(ended_before=SystemClock().now_ms() - RECENT_MS)
            found = await self.agents.roll.list(recent)
            if self.wanted.status == "stopped":
                gone = AgentFilter(origin="spawned", statuses=("stopped",))
                found = [*found, *await self.agents.roll.list(gone)]
        return snapshot(
            [agent for agent in found if self.wanted.has(agent)],
            max_concurrent=min(self.agents.settings.max_concurrent, MAX_SPAWNED),
            active=sum(agent.status != "stopped" for agent in found),
        )


class _Watching:
    """Paints again and again until a signal comes or nobody reads any more."""

    def __init__(self, look: _Look, seconds: int, *, clears: bool) -> None:
        import anyio

        from perstack.cli.listeners import Output

        self._look = look
        self._seconds = seconds
        self._screen = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._clears = clears and self._screen
        self._coloured = self._screen and not os.environ.get("NO_COLOR")
        self._output = Output()
        self._painted = False
        self._over = False
        self._resized = anyio.Event()

    async def run(self) -> None:
        """Watch, and put the terminal right at the end."""
        import anyio

        if self._screen:
            self._put(_HIDE)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._heed, group.cancel_scope)
                while self._output.broken is None:
                    self._resized = anyio.Event()
                    await self._paint()
                    with anyio.move_on_after(self._seconds):
                        await self._resized.wait()
                group.cancel_scope.cancel()
        finally:
            if self._screen:
                self._put(_SHOW)
        if self._over:
            self._put(f"\n{STOPPED}\n")

    async def _heed(self, scope: CancelScope) -> None:
        import anyio

        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGWINCH) as signals:
            async for number in signals:
                if number == signal.SIGWINCH:
                    self._resized.set()
                    continue
                self._over = True
                scope.cancel()

    async def _paint(self) -> None:
        from perstack.errors import StorageError

        try:
            seen = await self._look.snapshot()
        except StorageError as error:
            from perstack.cli.listeners import say

            say(f"Error: {error.message}")
            return
        self._put(self._text(seen))

    def _text(self, seen: WatchSnapshot) -> str:
        from perstack.ports.system import SystemClock
        from perstack.projection.agent_watch import WIDTH, WatchSpan, fitted, frame, plain

        now = SystemClock().now_ms()
        clock = datetime.fromtimestamp(now / 1000, tz=UTC).astimezone().strftime("%H:%M:%S")
        if not self._screen:
            return plain(frame(seen, now_ms=now, clock=clock)) + "\n"
        columns, rows = _size()
        lines = frame(seen, now_ms=now, clock=clock, width=columns)
        foot = lines[-1][0]
        gap = WIDTH - len(foot.text) - len(COCKPIT)
        lines[-1] = (foot, WatchSpan(" " * gap + COCKPIT, "dim"))
        return self._painted_over(fitted(lines, columns_=columns, rows=rows - 1))

    def _painted_over(self, lines: Sequence[WatchLine]) -> str:
        """Return what paints the lines, over the last ones unless they are to stay.

        Each is written over what was there, so that nothing ever is blank in between.
        """
        painted = ["".join(self._toned(span.text, span.tone) for span in line) for line in lines]
        if not self._clears:
            return "\n".join(painted) + "\n"
        begin = _HOME if self._painted else _CLEAR
        self._painted = True
        return begin + f"{_TO_END}\n".join(painted) + _TO_END + "\n" + _BELOW

    def _toned(self, text: str, tone: str) -> str:
        code = _SGR.get(tone)
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured and code else text

    def _put(self, text: str) -> None:
        self._output.text(text)


def _size() -> tuple[int, int]:
    """Return the terminal's columns and rows."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return 80, 24
    # Some that call themselves terminals say that they have no size.
    return size.columns or 80, max(size.lines or 24, 2)

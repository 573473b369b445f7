"""One life of a tool server: one process, one conversation, owned by one task.

What the SDK opens in a task has to be closed in it; calls may come from any.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
import anyio.abc
import anyio.to_thread

from perstack.domain.events import (
    SkillConnected,
    SkillDisconnected,
    SkillStarting,
    SkillStderr,
)
from perstack.errors import SkillError
from perstack.ports.skills import SkillNotice
from perstack.skills.process import Supervised, supervised
from perstack.skills.stdio.limits import ServerLimits
from perstack.skills.stdio.stderr import StderrLog

if TYPE_CHECKING:
    from perstack.skills.stdio.session import ListedTool, Session

_DRAIN_S: Final = 0.5
_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError)


@dataclass(frozen=True, slots=True)
class Launch:
    """How a skill's server is started, the same each time. `cwd` is an open directory."""

    skill_name: str
    command: tuple[str, ...]
    env: dict[str, str]
    cwd: int
    start_s: float
    limits: ServerLimits
    clean: Callable[[str], str]
    notice: Callable[[SkillNotice], None]

    def tell(self, message: str) -> None:
        """Let it be known what happened to the server."""
        self.notice(SkillStderr(skill_name=self.skill_name, message=message))


@dataclass(frozen=True, slots=True)
class Connection:
    """A server that is ready. Whoever sets `over` ends it; it is set when the server ended.

    `gone` is set once nothing of the server is left.
    """

    session: Session
    tools: list[ListedTool]
    over: anyio.Event
    gone: anyio.Event


@dataclass(slots=True)
class _Life:
    """What became of one start."""

    began: float
    gone: anyio.Event
    spawned: float = 0.0
    connected: bool = False
    failure: str = ""
    ended_early: bool = False


async def live(launch: Launch, *, task_status: anyio.abc.TaskStatus[Connection]) -> None:
    """Start a server, hand out the connection, and end the server once `over` is set.

    Raises:
        SkillError: it did not get ready. Afterwards nothing is raised.
    """
    program, *args = launch.command
    launch.notice(SkillStarting(skill_name=launch.skill_name, command=program, args=tuple(args)))
    stderr = StderrLog(launch.tell, launch.clean)
    life = _Life(anyio.current_time(), anyio.Event())
    try:
        async with supervised(
            launch.command,
            env=launch.env,
            cwd=launch.cwd,
            with_stdin=True,
            grace_s=launch.limits.grace_s,
        ) as process:
            life.spawned = anyio.current_time()
            await _attend(process, launch, life, stderr, task_status)
    finally:
        life.gone.set()
        if life.connected:
            launch.notice(SkillDisconnected(skill_name=launch.skill_name))
    if not life.connected:
        raise _not_started(launch, life, process, stderr.tail)


async def _attend(
    process: Supervised,
    launch: Launch,
    life: _Life,
    stderr: StderrLog,
    task_status: anyio.abc.TaskStatus[Connection],
) -> None:
    """Read its standard error throughout, talk with it, and give it a chance to leave."""
    async with anyio.create_task_group() as group:
        group.start_soon(stderr.follow, process.stderr)
        try:
            await _converse(process, launch, life, task_status)
        finally:
            with anyio.CancelScope(shield=True):
                await _let_leave(process, launch.limits.leave_s)
            patience = _DRAIN_S if process.ending is not None else 0.0
            group.cancel_scope.deadline = anyio.current_time() + patience


async def _converse(
    process: Supervised,
    launch: Launch,
    life: _Life,
    task_status: anyio.abc.TaskStatus[Connection],
) -> None:
    over = anyio.Event()
    with anyio.move_on_after(launch.start_s) as patience:
        # The SDK takes half a second to import, which the server needs to start anyway.
        await anyio.to_thread.run_sync(importlib.import_module, "perstack.skills.stdio.session")
        from perstack.skills.stdio.session import open_session

        async with open_session(process, over, tell=launch.tell, clean=launch.clean) as session:
            try:
                connection = await _introduce(session, launch, life)
            except SkillError as error:
                life.failure, life.ended_early = error.message, over.is_set()
            else:
                patience.deadline = math.inf
                life.connected = True
                task_status.started(connection)
                await over.wait()
    if patience.cancelled_caught:
        life.failure = f"it was not ready within {launch.start_s:g} s"


async def _introduce(session: Session, launch: Launch, life: _Life) -> Connection:
    asked = anyio.current_time()
    info = await session.introduce()
    shook = anyio.current_time()
    tools = await session.list_tools()
    listed = anyio.current_time()
    launch.notice(
        SkillConnected(
            skill_name=launch.skill_name,
            server_info=info,
            spawn_duration_ms=_ms(life.spawned - life.began),
            handshake_duration_ms=_ms(shook - asked),
            tool_discovery_duration_ms=_ms(listed - shook),
            connect_duration_ms=_ms(shook - life.began),
            total_duration_ms=_ms(listed - life.began),
        )
    )
    return Connection(session, tools, session.over, life.gone)


async def _let_leave(process: Supervised, within_s: float) -> None:
    """Close its input, by which a server knows that it may end, and read on while it does."""
    async with anyio.create_task_group() as group:
        group.start_soon(_drain, process.stdout)
        with anyio.move_on_after(within_s):
            if process.stdin is not None:
                with suppress(OSError, *_GONE):
                    await process.stdin.aclose()
            await process.wait()
        group.cancel_scope.cancel()


async def _drain(stream: anyio.abc.ByteReceiveStream) -> None:
    with suppress(*_GONE):
        async for _ in stream:
            pass


def _not_started(launch: Launch, life: _Life, process: Supervised, tail: str) -> SkillError:
    why = launch.clean(life.failure)
    if life.ended_early and process.ending is not None:
        why = f"its command {process.ending.words}"
    said = f"\nIts last error output:\n{tail}" if tail else ""
    return SkillError(
        f"Skill {launch.skill_name} could not be started: {why}{said}",
        hint=f"try its command by hand: {' '.join(launch.command)}",
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)

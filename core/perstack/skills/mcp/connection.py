"""One life of a tool server: one process or one conversation over HTTP, owned by one task.

What the SDK opens in a task has to be closed in it; calls may come from any.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import anyio.abc

from perstack.domain.server_events import SkillConnected, SkillDisconnected, SkillStarting
from perstack.errors import SkillError
from perstack.skills.mcp.launch import Launch, Streams, Transport

if TYPE_CHECKING:
    from perstack.skills.mcp.session import ListedTool, Session


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
    """What became of one start; times as the event loop counts them."""

    began: float
    gone: anyio.Event
    opened: float = 0.0
    connected: bool = False
    failure: str = ""


async def live(launch: Launch, *, task_status: anyio.abc.TaskStatus[Connection]) -> None:
    """Start or reach a server, hand out the connection, and end it once `over` is set.

    Raises:
        SkillError: it did not get ready. Afterwards nothing is raised.
    """
    transport = launch.transport(launch)
    program, *args = transport.announced
    launch.notice(SkillStarting(skill_name=launch.skill_name, command=program, args=tuple(args)))
    life = _Life(anyio.current_time(), anyio.Event())
    try:
        await _converse(transport, launch, life, task_status)
    except SkillError:
        if not life.connected:
            raise
    finally:
        transport.over.set()
        life.gone.set()
        if life.connected:
            launch.notice(SkillDisconnected(skill_name=launch.skill_name))
    if not life.connected:
        raise transport.not_ready(launch.clean(life.failure))


async def _converse(
    transport: Transport,
    launch: Launch,
    life: _Life,
    task_status: anyio.abc.TaskStatus[Connection],
) -> None:
    with anyio.move_on_after(launch.start_s) as patience:
        async with transport.opened() as streams:
            life.opened = anyio.current_time()
            await _serve(transport, streams, launch, life, patience, task_status)
    if patience.cancelled_caught:
        life.failure = f"it was not ready within {launch.start_s:g} s"


async def _serve(
    transport: Transport,
    streams: Streams,
    launch: Launch,
    life: _Life,
    patience: anyio.CancelScope,
    task_status: anyio.abc.TaskStatus[Connection],
) -> None:
    from perstack.skills.mcp.session import open_session

    async with open_session(streams, transport.over, launch) as session:
        try:
            connection = await _introduce(session, launch, life)
        except SkillError as error:
            life.failure = error.message
        else:
            patience.deadline = math.inf
            life.connected = True
            task_status.started(connection)
            await connection.over.wait()


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
            spawn_duration_ms=_ms(life.opened - life.began),
            handshake_duration_ms=_ms(shook - asked),
            tool_discovery_duration_ms=_ms(listed - shook),
            connect_duration_ms=_ms(shook - life.began),
            total_duration_ms=_ms(listed - life.began),
        )
    )
    return Connection(session, tools, session.over, life.gone)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)

"""Opens an Expert's skills for one run: the base tools here, MCP servers as processes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import anyio.to_thread

from perstack import __version__
from perstack.domain.events import ServerInfo, SkillConnected
from perstack.domain.expert import BASE_SKILL, BaseSkill, Expert, McpStdioSkill
from perstack.ports.skills import RunContext, SkillHost, SkillNotice, SkillOpener, SkillSet
from perstack.skills.base.skill import NAMES, OpenBaseSkill
from perstack.skills.gated import check_gated
from perstack.skills.stdio.limits import ServerLimits
from perstack.skills.toolset import OpenSkillSet

if TYPE_CHECKING:
    from perstack.skills.stdio.server import StdioServer

Notify = Callable[[SkillNotice], None]


class Skills(SkillOpener):
    """Starts an Expert's skills and closes them with the run."""

    def __init__(self, limits: ServerLimits | None = None) -> None:
        self._limits = limits or ServerLimits()

    @asynccontextmanager
    async def open(
        self,
        expert: Expert,
        context: RunContext,
        notice: Notify,
        host: SkillHost | None = None,
    ) -> AsyncGenerator[SkillSet, None]:
        """Start the base and all MCP skills concurrently; close them on exit, in bounded time.

        Raises:
            SkillError: a server could not be started in time; its last stderr lines are named.
            ConfigError: a `requiredEnv` variable is not set, `requireApproval` names a tool that
                is not there, or the workspace cannot be used.
        """
        began = anyio.current_time()
        check_gated(BASE_SKILL, _base_settings(expert).require_approval, NAMES)
        base = await anyio.to_thread.run_sync(OpenBaseSkill, context, _base_settings(expert))
        notice(_base_connected(round((anyio.current_time() - began) * 1000)))
        try:
            servers = self._servers(expert, context, base, notice)
            async with _running(servers):
                yield OpenSkillSet(base, servers)
        finally:
            base.close()

    def _servers(
        self, expert: Expert, context: RunContext, base: OpenBaseSkill, notice: Notify
    ) -> list[StdioServer]:
        wanted = {
            name: skill for name, skill in expert.skills.items() if isinstance(skill, McpStdioSkill)
        }
        if not wanted:
            return []
        from perstack.skills.stdio.server import StdioServer

        return [
            StdioServer(
                name,
                skill,
                context=context,
                cwd=base.workspace.descriptor,
                notice=notice,
                limits=self._limits,
            )
            for name, skill in wanted.items()
        ]


@asynccontextmanager
async def _running(servers: Sequence[StdioServer]) -> AsyncGenerator[None, None]:
    """Hold the servers' tasks; nothing of them is left afterwards, however it ends."""
    with _alone():
        async with anyio.create_task_group() as group:
            try:
                await _start_all(servers, group)
                yield
            finally:
                for server in servers:
                    server.stop()


async def _start_all(servers: Sequence[StdioServer], group: anyio.abc.TaskGroup) -> None:
    with _alone():
        async with anyio.create_task_group() as starting:
            for server in servers:
                starting.start_soon(server.start, group)


@contextmanager
def _alone() -> Generator[None, None, None]:
    """Take an exception out of the group that a task group puts even a single one in."""
    try:
        yield
    except BaseExceptionGroup as group:
        first: BaseException = group.exceptions[0]
        raise first from first.__cause__


def _base_settings(expert: Expert) -> BaseSkill:
    given = (skill for skill in expert.skills.values() if isinstance(skill, BaseSkill))
    return next(given, BaseSkill())


def _base_connected(total_ms: int) -> SkillConnected:
    return SkillConnected(
        skill_name=BASE_SKILL,
        server_info=ServerInfo(name=BASE_SKILL, version=__version__),
        spawn_duration_ms=0,
        handshake_duration_ms=0,
        tool_discovery_duration_ms=0,
        connect_duration_ms=0,
        total_duration_ms=total_ms,
    )

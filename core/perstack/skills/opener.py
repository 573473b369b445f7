"""Opens an Expert's skills for one run: the base tools here, MCP servers beside us or far away."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import anyio.to_thread

from perstack import __version__
from perstack.domain.expert import (
    BASE_SKILL,
    MEMORY_SKILL,
    BaseSkill,
    Expert,
    InteractiveSkill,
    MemorySkill,
)
from perstack.domain.server_events import ServerInfo, SkillConnected
from perstack.ports.recall import OpenRecall
from perstack.ports.skills import RunContext, SkillHost, SkillNotice, SkillOpener, SkillSet
from perstack.skills.base.skill import NAMES, OpenBaseSkill
from perstack.skills.external_base import ExternalBase, base_settings, external_base
from perstack.skills.gated import check_gated
from perstack.skills.mcp.addresses import Resolve, resolve
from perstack.skills.mcp.limits import ServerLimits
from perstack.skills.memory.skill import TOOL_NAMES, OpenMemorySkill
from perstack.skills.toolset import OpenSkillSet

if TYPE_CHECKING:
    from perstack.skills.mcp.server import McpServer
    from perstack.skills.mcp.servers import ServerMaker

Notify = Callable[[SkillNotice], None]


class Skills(SkillOpener):
    """Starts an Expert's skills and closes them with the run.

    `resolve` looks up the addresses of remote servers. `recall` is what the memory skill works
    on; without it, its tools answer that there is no memory.
    """

    def __init__(
        self,
        limits: ServerLimits | None = None,
        *,
        resolve: Resolve = resolve,
        recall: OpenRecall | None = None,
    ) -> None:
        self._limits = limits or ServerLimits()
        self._resolve = resolve
        self._recall = recall

    @asynccontextmanager
    async def open(
        self,
        expert: Expert,
        context: RunContext,
        notice: Notify,
        host: SkillHost | None = None,
    ) -> AsyncGenerator[SkillSet, None]:
        """Start the base and all MCP skills concurrently; close them on exit, in bounded time.

        Those with `lazyInit` are begun, those whose tools a lock file lists are not.

        Raises:
            SkillError: a server could not be started in time; its last stderr lines are named.
            ConfigError: a `requiredEnv` variable is not set, `requireApproval` names a tool that
                is not there, an address or the workspace cannot be used.
        """
        memory = self._memory(expert, context)
        replaced = external_base(expert, context)
        local = await self._open_local(expert, context, notice, host, replaced=replaced is not None)
        try:
            maker = self._maker(context, local, notice, host)
            servers = self._servers(expert, maker)
            base: OpenBaseSkill | ExternalBase = local
            running = servers
            if replaced is not None:
                server = maker().make(BASE_SKILL, replaced, from_lock=False)
                base, running = ExternalBase(server, local), [server, *servers]
            async with _running(running):
                yield OpenSkillSet(base, servers, beside=memory)
        finally:
            local.close()

    def _memory(self, expert: Expert, context: RunContext) -> list[OpenMemorySkill]:
        skill = expert.skills.get(MEMORY_SKILL)
        if not isinstance(skill, MemorySkill):
            return []
        check_gated(MEMORY_SKILL, skill.require_approval, TOOL_NAMES)
        recall = self._recall(expert, context) if self._recall else None
        return [OpenMemorySkill(skill, recall, env=context.env)]

    async def _open_local(
        self,
        expert: Expert,
        context: RunContext,
        notice: Notify,
        host: SkillHost | None,
        *,
        replaced: bool,
    ) -> OpenBaseSkill:
        """Open the workspace, and the built-in base tools unless others take their place."""
        settings = BaseSkill(pick=("readImageFile", "readPdfFile")) if replaced else None
        settings = settings or base_settings(expert)
        began = anyio.current_time()
        check_gated(BASE_SKILL, settings.require_approval, NAMES)
        local = await anyio.to_thread.run_sync(OpenBaseSkill, context, settings, host)
        if not replaced:
            notice(_base_connected(round((anyio.current_time() - began) * 1000)))
        return local

    def _maker(
        self,
        context: RunContext,
        local: OpenBaseSkill,
        notice: Notify,
        host: SkillHost | None,
    ) -> Callable[[], ServerMaker]:
        def make() -> ServerMaker:
            from perstack.skills.mcp.servers import ServerMaker

            return ServerMaker(
                context=context,
                cwd=local.workspace.descriptor,
                notice=notice,
                host=host,
                limits=self._limits,
                resolve=self._resolve,
            )

        return make

    def _servers(self, expert: Expert, maker: Callable[[], ServerMaker]) -> list[McpServer]:
        wanted = {
            name: skill
            for name, skill in expert.skills.items()
            if name != BASE_SKILL
            and not isinstance(skill, BaseSkill | MemorySkill | InteractiveSkill)
        }
        return [maker().make(name, skill) for name, skill in wanted.items()]


@asynccontextmanager
async def _running(servers: Sequence[McpServer]) -> AsyncGenerator[None, None]:
    """Hold the servers' tasks; nothing of them is left afterwards, however it ends."""
    with _alone():
        async with anyio.create_task_group() as group:
            try:
                await _start_all(servers, group)
                yield
            finally:
                for server in servers:
                    server.stop()


async def _start_all(servers: Sequence[McpServer], group: anyio.abc.TaskGroup) -> None:
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

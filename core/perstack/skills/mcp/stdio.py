"""A tool server that is a process, spoken to over its standard input and output."""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
import anyio.abc
import anyio.to_thread

from perstack.errors import SkillError
from perstack.processes.supervised import Ending, Supervised, supervised
from perstack.skills.mcp.launch import Launch, Streams, Transport
from perstack.skills.mcp.stderr import StderrLog

if TYPE_CHECKING:
    from perstack.skills.mcp.link import Link

_DRAIN_S: Final = 0.5
_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError)


@dataclass(frozen=True, slots=True)
class StdioTarget:
    """What is started: a command with its environment, in the open directory `cwd`."""

    command: tuple[str, ...]
    env: dict[str, str]
    cwd: int

    def transport(self, launch: Launch) -> Transport:
        """Return the way to a process of its own."""
        return _Process(self, launch)


class _Process(Transport):
    def __init__(self, target: StdioTarget, launch: Launch) -> None:
        self._target = target
        self._launch = launch
        self._stderr = StderrLog(launch.tell, launch.clean)
        self._over = anyio.Event()
        self._ended_early = False
        self._ending: Ending | None = None

    @property
    def over(self) -> anyio.Event:
        return self._over

    @property
    def announced(self) -> tuple[str, ...]:
        return self._target.command

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Streams]:
        target, limits = self._target, self._launch.limits
        async with (
            supervised(
                target.command,
                env=target.env,
                cwd=target.cwd,
                with_stdin=True,
                grace_s=limits.grace_s,
            ) as process,
            self._attended(process) as streams,
        ):
            yield streams
        self._ending = process.ending

    def not_ready(self, why: str) -> SkillError:
        if self._ended_early and self._ending is not None:
            why = f"its command {self._ending.words}"
        tail = self._stderr.tail
        said = f"\nIts last error output:\n{tail}" if tail else ""
        return SkillError(
            f"Skill {self._launch.skill_name} could not be started: {why}{said}",
            hint=f"try its command by hand: {' '.join(self._target.command)}",
        )

    @asynccontextmanager
    async def _attended(self, process: Supervised) -> AsyncGenerator[Streams]:
        """Read its standard error throughout, and give it a chance to leave."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._stderr.follow, process.stderr)
            try:
                async with self._linked(process) as streams:
                    yield streams
            finally:
                with anyio.CancelScope(shield=True):
                    await _let_leave(process, self._launch.limits.leave_s)
                patience = _DRAIN_S if process.ending is not None else 0.0
                group.cancel_scope.deadline = anyio.current_time() + patience

    @asynccontextmanager
    async def _linked(self, process: Supervised) -> AsyncGenerator[Streams]:
        link = await self._link(process)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(link.read)
                group.start_soon(link.write)
                yield Streams(link.incoming, link.outgoing)
                self._ended_early = self._over.is_set()
                group.cancel_scope.cancel()
        finally:
            link.close()

    async def _link(self, process: Supervised) -> Link:
        # The SDK takes half a second to import, which the server needs to start anyway.
        await anyio.to_thread.run_sync(importlib.import_module, "perstack.skills.mcp.session")
        from perstack.skills.mcp.link import Link

        return Link(process, self._over, self._launch.tell)


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

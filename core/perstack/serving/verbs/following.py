"""A job that a client waits for: its events are told as progress, and it stops with the call."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from perstack.domain.events import Event, RequestApproval
from perstack.domain.ids import JobId
from perstack.domain.server_events import RequestInput
from perstack.engine.groups import unwrapped
from perstack.projection.plain import PlainLines
from perstack.serving.jobs import ServedJob
from perstack.serving.verbs.verb import Call

WIDTH: Final = 160
_LONGEST: Final = 2_000
_WAITING: Final = 256
_LINE: Final = 0.001


class Following:
    """Hears a job's events, and hands on a line or two of each; what nobody takes is dropped."""

    def __init__(self, call: Call) -> None:
        self.hint: str | None = None
        self._over = False
        self._client = call.client
        self._lines = PlainLines(width=WIDTH, teaches=False)
        self._send, self.told = anyio.create_memory_object_stream[tuple[int, str]](_WAITING)

    def hear(self, event: Event) -> None:
        """Put what the event says in line."""
        self._client.started.add(event.job_id)
        if self._over:
            return
        lines = self._lines.event(event)
        body = event.body
        if isinstance(body, RequestApproval | RequestInput):
            lines.append(f"a person decides: perstack consensus show {body.consensus_id}")
        if not lines:
            return
        try:
            self._send.send_nowait((event.step_number, "\n".join(lines)[:_LONGEST]))
        except anyio.WouldBlock:
            # A client that does not keep up misses lines, never the result.
            return

    async def end(self, job: ServedJob, *, leave: bool) -> JobId:
        """Wait for its end, unless it is left to itself; a call that is cancelled stops it.

        Raises:
            PerstackError: its history could not be written.
        """
        if not leave:
            try:
                self.hint = (await job.wait()).outcome.hint
            except anyio.get_cancelled_exc_class():
                job.control.stop("user", by=self._client.name)
                raise
        return await job.begin()

    def close(self) -> None:
        """Take no more; a job that goes on by itself is heard in vain."""
        self._over = True
        self._send.close()


@asynccontextmanager
async def followed(call: Call, max_steps: int) -> AsyncGenerator[Following]:
    """Give what hears a job; what it hears is told while the block lasts.

    `max_steps` is the total that progress is measured by.
    """
    following = Following(call)

    async def tell() -> None:
        done = 0.0
        async with following.told:
            async for step, line in following.told:
                # Progress must grow with each notification, and several lines share a step.
                done = max(float(step), round(done + _LINE, 3))
                await call.progress(done, float(max(max_steps, step)), line)

    with unwrapped():
        async with anyio.create_task_group() as group:
            group.start_soon(tell, name="mcp:progress")
            try:
                yield following
            finally:
                following.close()

"""One review loop's way from where it stands to its end, each step stored before the next."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import anyio
from pydantic import JsonValue

from perstack.domain.ids import AgentId
from perstack.domain.reviews import (
    ACTIVE,
    LoopStatus,
    Review,
    ReviewLoop,
    after_review,
    failed,
    with_code,
)
from perstack.errors import PerstackError, StorageError
from perstack.ports.crew import Crew
from perstack.ports.stores import Stores
from perstack.ports.system import Clock
from perstack.services.handle import Handle
from perstack.services.leases import Drive, LostError, patiently
from perstack.services.reviews.asking import Asking

LET_GO_S: Final = 5.0

_LOG: Final = logging.getLogger(__name__)

Tell = Callable[[str, ReviewLoop, Mapping[str, JsonValue]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class DriverParts:
    """What all drivers of a process share. `slots` bounds how many loops work at a time."""

    stores: Handle[Stores]
    crew: Crew
    asking: Asking
    clock: Clock
    slots: anyio.CapacityLimiter
    tell: Tell


class LoopDriver:
    """Drives `loop` under the claim `drive`."""

    def __init__(self, parts: DriverParts, drive: Drive, loop: ReviewLoop) -> None:
        self._parts = parts
        self._drive = drive
        self._loop = loop
        self._steps: Final[Mapping[LoopStatus, Callable[[], Awaitable[None]]]] = {
            "pending": self._begin,
            "coding": self._code,
            "reviewing": self._review,
            "fixing": self._fix,
        }

    async def work(self) -> None:
        """Go on until the loop has ended.

        Raises:
            LostError: it was aborted, or another process drives it.
            PerstackError: an Expert failed, and so did the loop; or, a `StorageError`, nothing can
                be written, and the loop stands where it stood.
        """
        async with self._parts.slots:
            try:
                await self._take_on()
                while self._loop.status in ACTIVE:
                    await self._steps[self._loop.status]()
            except StorageError:
                raise
            except PerstackError as error:
                await self._fail(error)
                raise
            finally:
                await let_go(self._parts.crew, self._loop)

    # ---------------------------------------------------------------- steps

    async def _begin(self) -> None:
        await self._move(self._loop.model_copy(update={"status": "coding"}))
        await self._parts.tell("loop:start", self._loop, {})

    async def _code(self) -> None:
        written = await self._parts.asking.write(self._loop)
        await self._move(with_code(self._loop, written.code, written.job_id))
        await self._tell_iteration()

    async def _review(self) -> None:
        review = await self._parts.asking.review(self._loop)
        now = self._parts.clock.now_ms()
        await self._move(after_review(self._loop, review, now_ms=now), review)
        result: JsonValue = review.model_dump(mode="json", exclude_none=True)
        await self._parts.tell("loop:review", self._loop, {"result": result})
        if self._loop.status == "approved":
            await self._parts.tell("loop:approved", self._loop, {})
        if self._loop.status not in ACTIVE:
            await self._parts.tell("loop:complete", self._loop, {})

    async def _fix(self) -> None:
        fixed = self._loop.reviews[-1] if self._loop.reviews else None
        written = await self._parts.asking.fix(self._loop)
        await self._move(with_code(self._loop, written.code, written.job_id))
        issues: list[JsonValue] = [
            issue.model_dump(mode="json", exclude_none=True)
            for issue in (fixed.issues if fixed is not None else ())
        ]
        number = self._loop.iteration - 1
        await self._parts.tell("loop:fix", self._loop, {"iteration": number, "issues": issues})
        await self._tell_iteration()

    # ------------------------------------------------------------ internals

    async def _take_on(self) -> None:
        """Make the two agents, in place of those that a process which died left behind."""
        crew, loop = self._parts.crew, self._loop
        await let_go(crew, loop)
        ids: dict[str, AgentId] = {}
        for part, expert in (("coder", loop.coder), ("adversarial", loop.adversarial)):
            name = f"review-loop-{part}-{loop.id[:8]}"
            ids[f"{part}_id"] = await crew.take_on(
                expert, name=name, owner=loop.id, session_id=loop.session_id
            )
            self._loop = loop.model_copy(update=dict(ids))
        await self._move(self._loop)

    async def _move(self, loop: ReviewLoop, review: Review | None = None) -> None:
        """Write the loop as `loop`, and go on from there."""
        expected = self._loop.status

        async def advance() -> bool:
            lease = self._drive.lease()
            return await self._parts.stores.ask(
                lambda stores: stores.reviews.advance(loop, lease, expected=expected, review=review)
            )

        moved = await patiently(advance)
        if not moved:
            raise LostError
        self._loop = loop

    async def _fail(self, error: PerstackError) -> None:
        now = self._parts.clock.now_ms()
        try:
            await self._move(failed(self._loop, error.message, now_ms=now))
        except LostError:
            return
        await self._parts.tell("loop:error", self._loop, {"error": error.message})

    async def _tell_iteration(self) -> None:
        number = self._loop.iteration
        await self._parts.tell("loop:iteration", self._loop, {"iteration": number})


async def let_go(crew: Crew, loop: ReviewLoop) -> None:
    """Release a loop's agents, also when cancelled; takes at most `LET_GO_S` seconds."""
    with anyio.move_on_after(LET_GO_S, shield=True):
        for agent_id in (loop.coder_id, loop.adversarial_id):
            if agent_id is None:
                continue
            try:
                await crew.let_go(agent_id)
            except PerstackError as error:
                # What the loop came to is written; a name that stays taken changes nothing of it.
                _LOG.warning("agent %s was not let go: %s", agent_id, error.message)

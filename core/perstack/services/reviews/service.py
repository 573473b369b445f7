"""Review loops: start, resume, abort and look at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import anyio
from pydantic import JsonValue

from perstack.domain.ids import ExpertKey, SessionId
from perstack.domain.reviews import (
    ACTIVE,
    DEFAULT_ITERATIONS,
    MAX_CODE,
    MAX_ITERATIONS,
    MAX_LOOPS,
    LoopId,
    LoopStatus,
    ReviewLoop,
)
from perstack.errors import ConflictError, UsageError
from perstack.ports.crew import Crew
from perstack.ports.experts import ExpertRunner
from perstack.ports.reviews import Lease
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.services.bus import MessageBus
from perstack.services.handle import Handle
from perstack.services.leases import Drive
from perstack.services.reviews.asking import Asking
from perstack.services.reviews.driver import DriverParts, LoopDriver, let_go

CODER: Final = ExpertKey("coder")
ADVERSARIAL: Final = ExpertKey("adversarial")
EXPERT_S: Final = 900.0


class ReviewLoops:
    """Drives loops whose every transition is stored, so that another process can go on.

    At most `max_loops` loops of this process work at a time; others wait as `pending`. What happens
    is told on the bus as `loop:start`, `loop:iteration`, `loop:review`, `loop:fix`,
    `loop:approved`, `loop:complete` and `loop:error`, each with the loop as it stands. `ids` gives
    UUIDs; one run of an Expert takes at most `expert_s` seconds. `redact` takes secrets out of what
    a loop is given.
    """

    def __init__(
        self,
        stores: Handle[Stores],
        *,
        runner: ExpertRunner,
        crew: Crew,
        bus: MessageBus,
        clock: Clock,
        ids: Ids,
        max_loops: int = MAX_LOOPS,
        expert_s: float = EXPERT_S,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._stores = stores
        self._crew = crew
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._redact = redact
        self._parts = DriverParts(
            stores=stores,
            crew=crew,
            asking=Asking(runner, crew, clock=clock, ids=ids, expert_s=expert_s),
            clock=clock,
            slots=anyio.CapacityLimiter(max_loops),
            tell=self._tell,
        )
        self._driven: dict[LoopId, Drive] = {}

    # ---------------------------------------------------------------- verbs

    async def start(
        self,
        code: str,
        *,
        max_iterations: int = DEFAULT_ITERATIONS,
        session_id: SessionId | None = None,
        coder: ExpertKey = CODER,
        adversarial: ExpertKey = ADVERSARIAL,
        model: str | None = None,
    ) -> ReviewLoop:
        """Make a loop and drive it to its end; return it as it ended, aborted ones included.

        Raises:
            UsageError, ProviderError, ConfigError, StorageError: as `create` and `resume`.
        """
        loop = await self.create(
            code,
            max_iterations=max_iterations,
            session_id=session_id,
            coder=coder,
            adversarial=adversarial,
            model=model,
        )
        return await self.resume(loop.id)

    async def create(
        self,
        code: str,
        *,
        max_iterations: int = DEFAULT_ITERATIONS,
        session_id: SessionId | None = None,
        coder: ExpertKey = CODER,
        adversarial: ExpertKey = ADVERSARIAL,
        model: str | None = None,
        loop_id: LoopId | None = None,
    ) -> ReviewLoop:
        """Write a pending loop; `resume` drives it.

        Raises:
            UsageError: there is no code, or `max_iterations` is not 1 to 10.
            ConflictError: there is a loop `loop_id` already.
        """
        if not code.strip():
            raise UsageError("Code or a task description is required")
        if len(code) > MAX_CODE:
            raise UsageError(f"the code is longer than {MAX_CODE} characters")
        if not 1 <= max_iterations <= MAX_ITERATIONS:
            raise UsageError(f"maxIterations must be 1 to {MAX_ITERATIONS}")
        loop = ReviewLoop(
            id=loop_id or LoopId(self._ids.new()),
            session_id=session_id,
            coder=coder,
            adversarial=adversarial,
            model=model,
            status="pending",
            max_iterations=max_iterations,
            code_input=self._redact(code),
            started_at=self._clock.now_ms(),
        )
        await self._stores.ask(lambda stores: stores.reviews.add(loop))
        return loop

    async def resume(self, loop_id: LoopId) -> ReviewLoop:
        """Drive a loop from where it stands to its end; one that has ended is just returned.

        Raises:
            NotFoundError: `Review loop not found`.
            ConflictError: a living process drives it, or took it over.
            ProviderError: an Expert failed; the loop has failed, too.
            ConfigError: an Expert or its model is unknown; as above.
            LimitError: there are too many agents; as above.
            StorageError: the database or the history cannot be written; the loop can be resumed.
        """
        loop = await self.get(loop_id)
        if loop.status not in ACTIVE:
            return loop
        drive = Drive(_Claim(self._stores, loop_id), clock=self._clock, ids=self._ids)
        driver = LoopDriver(self._parts, drive, loop)
        self._driven.setdefault(loop_id, drive)
        try:
            claimed = await drive.during(driver.work)
        finally:
            if self._driven.get(loop_id) is drive:
                del self._driven[loop_id]
        loop = await self.get(loop_id)
        if not claimed or loop.status in ACTIVE:
            raise ConflictError(
                f"the review loop {loop_id[:40]!a} is driven already",
                hint="it can be resumed ten seconds after that process died",
            )
        return loop

    async def abort(self, loop_id: LoopId) -> ReviewLoop:
        """End a loop, whoever drives it; its Experts are stopped within a second.

        Raises:
            NotFoundError: `Review loop not found`.
            ConflictError: it has ended already.
        """
        loop = await self.get(loop_id)
        now = self._clock.now_ms()
        if not await self._stores.ask(lambda stores: stores.reviews.abort(loop_id, now_ms=now)):
            raise ConflictError(f"Review loop is already {(await self.get(loop_id)).status}")
        drive = self._driven.get(loop_id)
        if drive is not None:
            drive.stop()
        # Whoever drives it lets the agents go; this is for the loop of a dead process.
        loop = await self.get(loop_id)
        await let_go(self._crew, loop)
        await self._tell("loop:aborted", loop, {})
        return loop

    async def get(self, loop_id: LoopId) -> ReviewLoop:
        """Return a loop.

        Raises:
            NotFoundError: `Review loop not found`.
        """
        return await self._stores.ask(lambda stores: stores.reviews.get(loop_id))

    async def list(
        self,
        *,
        statuses: Sequence[LoopStatus] = ACTIVE,
        session_id: SessionId | None = None,
        limit: int = 100,
    ) -> Sequence[ReviewLoop]:
        """Return loops, newest first: those that have not ended, unless asked otherwise."""
        return await self._stores.ask(
            lambda stores: stores.reviews.list(
                statuses=statuses, session_id=session_id, limit=limit
            )
        )

    # ------------------------------------------------------------ internals

    async def _tell(self, event: str, loop: ReviewLoop, more: Mapping[str, JsonValue]) -> None:
        state: JsonValue = loop.model_dump(mode="json", exclude_none=True)
        await self._bus.broadcast(f"review-loop:{loop.id}", event, {**more, "state": state})


class _Claim:
    """Implements `leases.Holder` for one loop."""

    def __init__(self, stores: Handle[Stores], loop_id: LoopId) -> None:
        self._stores = stores
        self._id = loop_id

    async def claim(self, lease: Lease) -> bool:
        return await self._stores.ask(lambda stores: stores.reviews.claim(self._id, lease))

    async def beat(self, lease: Lease) -> bool:
        return await self._stores.ask(lambda stores: stores.reviews.beat(self._id, lease))

    async def release(self, lease: Lease) -> None:
        await self._stores.ask(lambda stores: stores.reviews.release(self._id, lease))

"""A process that drives a review loop or a workflow until it is killed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import anyio

from perstack.ports.experts import ExpertAnswer, ExpertRequest
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.services.bus import MessageBus
from perstack.services.handle import Handle
from perstack.services.reviews.service import ReviewLoops
from perstack.services.workflows.runner import WorkflowRunner
from perstack.services.workflows.service import Workflows
from perstack.storage.database.opener import open_stores
from tests.fakes.crew import FakeCrew
from tests.fakes.runner import Answering, FakeRunner, key_of, make_answer, use


class LateClock:
    """The machine's clock, so many milliseconds on."""

    def __init__(self, late_ms: int = 0) -> None:
        self._late_ms = late_ms

    def now_ms(self) -> int:
        return SystemClock().now_ms() + self._late_ms


@asynccontextmanager
async def open_workflows(
    path: Path, answer: Answering, *, late_ms: int = 0
) -> AsyncGenerator[Workflows]:
    """Give the workflows of a process, whose clock may be late."""
    clock, ids, bus = LateClock(late_ms), Uuids(), MessageBus()
    stores: Handle[Stores] = Handle(lambda: open_stores(path, clock=clock, ids=ids))
    runner = FakeRunner(answer)
    loops = ReviewLoops(stores, runner=runner, crew=FakeCrew(), bus=bus, clock=clock, ids=ids)
    yield Workflows(
        WorkflowRunner(stores, bus=bus, clock=clock, ids=ids),
        workspace=path.parent,
        experts=runner,
        loops=loops,
    )
    await stores.aclose()


async def review(request: ExpertRequest) -> ExpertAnswer:
    """Write, and approve."""
    if key_of(request) == "coder":
        await use(request, "submitCode", code="x = 1")
    else:
        await use(request, "submitVerdict", verdict="APPROVE")
    return make_answer("done")


def drive_until_killed(path: Path, told: Connection) -> None:
    """Begin an adversarial review, tell its id once the code is reviewed, and never get further."""
    anyio.run(_drive, path, told)


async def _drive(path: Path, told: Connection) -> None:
    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if key_of(request) == "coder":
            return await review(request)
        told.send(run.id)
        await anyio.sleep_forever()
        raise AssertionError

    async with open_workflows(path, answer) as workflows:
        run = await workflows.create("adversarial-review", {"task": "x"})
        await workflows.resume(run.id)

"""Two cockpits on one workspace decide the same checkpoints: one wins, the other is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from perstack.config.typed import Overrides
from perstack.domain.consensus import ConsensusCheckpoint, Decision
from perstack.domain.ids import ConsensusId
from perstack.errors import ConflictError
from perstack.ports.frontend import Setup
from perstack.ports.system import SystemClock, Uuids
from perstack.services.consensus import ConsensusService
from perstack.services.handle import Handle
from perstack.storage.database.opener import database_path, open_stores
from perstack_tui.local.gateway import LocalGateway
from tests.fakes.consensus import make_checkpoint

pytestmark = pytest.mark.anyio

RACES = 1_000
SAMPLED = 40


@asynccontextmanager
async def cockpit(workspace: Path) -> AsyncGenerator[LocalGateway]:
    gateway = LocalGateway(workspace, Setup(None, Overrides()))

    async def show() -> None:
        async with aclosing(gateway.updates()) as updates:
            async for _ in updates:
                pass

    async with anyio.create_task_group() as group:
        group.start_soon(show)
        try:
            yield gateway
        finally:
            await gateway.aclose()
            group.cancel_scope.cancel()


@asynccontextmanager
async def proposing(workspace: Path) -> AsyncGenerator[ConsensusService]:
    clock = SystemClock()
    stores = Handle(lambda: open_stores(database_path(workspace), clock=clock, ids=Uuids()))
    try:
        yield ConsensusService(stores, clock=clock, workspace=workspace)
    finally:
        await stores.aclose()


async def race(
    one: LocalGateway, other: LocalGateway, consensus_id: ConsensusId
) -> tuple[list[ConsensusCheckpoint], list[str]]:
    """Both decide at once, one for it and one against."""
    won: list[ConsensusCheckpoint] = []
    told: list[str] = []

    async def decide(gateway: LocalGateway, *, approved: bool) -> None:
        decision = Decision(approved=approved, reviewed_by="somebody")
        try:
            won.append(await gateway.decide(consensus_id, decision))
        except ConflictError as error:
            told.append(error.message)

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: decide(one, approved=True))
        group.start_soon(lambda: decide(other, approved=False))
    return won, told


async def races(workspace: Path, count: int) -> None:
    clock = SystemClock()
    async with (
        proposing(workspace) as consensus,
        cockpit(workspace) as one,
        cockpit(workspace) as other,
    ):
        winners: set[bool] = set()
        for number in range(count):
            made = make_checkpoint(f"race{number}", created_at=clock.now_ms())
            await consensus.propose(made)
            first, second = (one, other) if number % 2 else (other, one)
            won, told = await race(first, second, made.id)
            assert len(won) == len(told) == 1, number
            assert "was already" in told[0]
            assert won[0].reviewer_id is not None
            assert won[0].reviewer_id in told[0]
            kept = await consensus.show(made.id)
            assert kept.decision == won[0].decision
            events = [entry.event for entry in await consensus.audit(made.id)]
            assert len([event for event in events if event in ("approved", "rejected")]) == 1
            winners.add(kept.status == "approved")
        assert winners == {True, False}


async def test_two_cockpits_never_decide_one_checkpoint_twice(tmp_path: Path) -> None:
    await races(tmp_path, SAMPLED)


@pytest.mark.long
async def test_two_cockpits_never_decide_one_checkpoint_twice_in_a_thousand_races(
    tmp_path: Path,
) -> None:
    await races(tmp_path, RACES)

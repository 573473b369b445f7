"""A process of its own that meters an agent, or tries to reset what was metered.

`python -m tests.fakes.resource_worker EVENTS|reset DATABASE WORKSPACE`. With a number it notes so
many events, says so once they are written, and waits to be killed. "reset" says what came of each
way to be rid of limits.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from perstack.domain.coordination import ResourceSettings, ResourceThresholds
from perstack.domain.ids import AgentId
from perstack.errors import DeniedError
from perstack.ports.announcements import NoAnnouncer
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.services.handle import Handle
from perstack.services.resources import ResourceService
from perstack.storage.database.opener import open_stores
from tests.fakes.events import generation, make_event

A1 = AgentId("a1")
LIMITS = ResourceSettings(enabled=True, thresholds=ResourceThresholds(max_api_calls=10))


def make_service(database: Path, workspace: Path) -> tuple[ResourceService, Handle[Stores]]:
    handle: Handle[Stores] = Handle(lambda: open_stores(database, clock=SystemClock(), ids=Uuids()))
    service = ResourceService(
        handle,
        settings=LIMITS,
        clock=SystemClock(),
        ids=Uuids(),
        workspace=workspace,
        announcer=NoAnnouncer(),
    )
    return service, handle


async def count(service: ResourceService, events: int) -> None:
    for seq in range(events):
        service.note(A1, "coder", make_event(generation(), seq, at=SystemClock().now_ms()))
        service.verdict(A1)
        await service.flush()
    print("written", flush=True)  # noqa: T201  whoever started it reads along
    await anyio.sleep_forever()


async def try_to_reset(service: ResourceService) -> None:
    async def report(agent_id: AgentId) -> None:
        await service.record_deliverable(agent_id, "task_completed")

    ways: tuple[Callable[[AgentId], Awaitable[object]], ...] = (
        service.resume_agent,
        service.cleanup_agent,
        report,
    )
    for way in ways:
        try:
            await way(A1)
        except DeniedError as error:
            print(f"denied: {error.message}")  # noqa: T201
        else:
            print("done")  # noqa: T201


async def main() -> None:
    what, database, workspace = sys.argv[1:]
    service, handle = make_service(Path(database), Path(workspace))
    try:
        await (try_to_reset(service) if what == "reset" else count(service, int(what)))
    finally:
        await handle.aclose()


if __name__ == "__main__":
    anyio.run(main)

"""Eight hours compressed: the same events through the real fold, the state and the screen."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from textual.pilot import Pilot

from perstack.ports.history import FeedBatch
from perstack.projection import holdings, transcript
from perstack.projection.workspace import WorkspaceFold
from perstack_tui.app import Cockpit
from perstack_tui.opening import Opening
from perstack_tui.ports.gateway import Gateway
from perstack_tui.state.entry_lines import EntryKey
from perstack_tui.state.lines import Line
from tests.fakes.gateway import FakeGateway, definitions
from tests.fakes.long_run import hours

pytestmark = pytest.mark.anyio
MIB = 1 << 20


@dataclass(frozen=True)
class Held:
    """What a process holds: memory in bytes, our objects but for lines, which caches keep."""

    memory: int
    objects: int
    widgets: int
    tasks: int
    files: int


def held(app: Cockpit) -> Held:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Held(
        pages * os.sysconf("SC_PAGE_SIZE"),
        sum(
            str(type(one).__module__).startswith("perstack")
            and not isinstance(one, (Line, EntryKey))
            for one in gc.get_objects()
        ),
        len(app.screen.query("*")),
        len(asyncio.all_tasks()),
        len(os.listdir("/proc/self/fd")),  # noqa: PTH208
    )


def assert_steady(first: Held, last: Held) -> None:
    assert last.widgets == first.widgets
    # A timer that happens to run is a task.
    assert abs(last.tasks - first.tasks) <= 2
    assert last.files == first.files


async def work_through(
    pilot: Pilot[int], gateway: FakeGateway, batches: Iterator[FeedBatch], events: int
) -> None:
    """Have the screen show what happens, a batch at a time, until `events` events are folded."""
    done = 0
    while done < events:
        batch = next(batches)
        done += len(batch.events)
        gateway.say(batch)
        while gateway.waiting or cast("Cockpit", pilot.app).paint_pending:
            await pilot.pause(0)


async def grown(events: int) -> tuple[Held, Held]:
    """Return what is held after half of the events and after all."""
    gateway = FakeGateway()

    async def opened() -> Gateway:
        return gateway

    app = Cockpit(Opening(Path("/w/long"), opened, WorkspaceFold))
    async with app.run_test(size=(120, 40)) as pilot:
        gateway.say(definitions())
        await pilot.pause()
        batches = hours(20)
        await work_through(pilot, gateway, batches, events // 2)
        first = held(app)
        await work_through(pilot, gateway, batches, events // 2)
        last = held(app)
    return first, last


async def test_a_sample_of_a_long_run_grows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "MAX_ENTRIES", 12)
    monkeypatch.setattr(holdings, "MAX_POINTS", 120)
    first, last = await grown(4_000)
    assert_steady(first, last)
    # A step leaves some ten objects until it is let go of; here were 280 of them.
    assert last.objects - first.objects < 280


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_eight_hours_grow_nothing_but_what_is_bounded() -> None:
    first, last = await grown(200_000)
    assert_steady(first, last)
    # Checkpoints are still being added up to their bound: 10,000 of some 700 bytes.
    assert last.memory - first.memory < 16 * MIB

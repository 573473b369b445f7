"""A workspace with a history: python -m bench.stored WORKSPACE

100,000 events in all: one job of 5,000 checkpoints, the others in jobs of 500 events, all ended.
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Final

import anyio

from bench.writer import bodies, ended, new_job
from perstack.domain.events import ContinueToNextStep
from perstack.ports.history import History
from perstack.runtime import open_history

EVENTS: Final = 100_000
LONG_CHECKPOINTS: Final = 5_000
LONG_QUERY: Final = "The long one."
_OF_A_STEP: Final = 6
_SHORT_EVENTS: Final = 500


async def write_stored(workspace: Path) -> None:
    """Write the jobs; the long one is the newest."""
    history = open_history(workspace)
    long_events = 1 + LONG_CHECKPOINTS * _OF_A_STEP
    for _ in range((EVENTS - long_events) // _SHORT_EVENTS):
        await _job(history, "A short one.", _SHORT_EVENTS)
    await _job(history, LONG_QUERY, long_events)


async def _job(history: History, query: str, count: int) -> None:
    job, (setting,) = new_job(query)
    async with history.create_job(job) as held:
        log = await held.create_run(setting)
        step = 1
        for body in islice(bodies(0), count):
            log.append(body, step_number=step)
            if isinstance(body, ContinueToNextStep):
                step = body.next_step_number
        log.close()
        await held.save(ended(job))


if __name__ == "__main__":
    anyio.run(write_stored, Path(sys.argv[1]))

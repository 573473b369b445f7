"""A folder in which two processes' worth of services work: one listens, the other does things."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from perstack.coordination import Coordination
from perstack.domain.ids import ExpertKey
from perstack.serving.backend import Backend, Place, open_backend
from perstack.serving.jobs import ServedJobs, open_jobs

TOML = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
[consensus]
enabled = true
reviewerStrategy = "human"
[experts."writer"]
instruction = "You write."
"""
SCENARIO = """
[[turns]]
expert = "writer"
text = "Hello."
"""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder, who listens and who does."""

    folder: Path
    listening: Backend
    doing: Backend
    jobs: ServedJobs

    async def run(self) -> str:
        """Run a job to its end in the process that does; return its id."""
        job = await self.jobs.start(ExpertKey("writer"), "Say hello.")
        await job.wait()
        return str(job.job_id)

    @asynccontextmanager
    async def services(self) -> AsyncGenerator[Coordination]:
        """Give the services of the process that does."""
        async with self.doing.use() as served:
            yield served.coordination


@asynccontextmanager
async def workspace(folder: Path) -> AsyncGenerator[Workspace]:
    (folder / "perstack.toml").write_text(TOML)
    (folder / "scenario.toml").write_text(SCENARIO)
    place = Place(folder, trust=True)
    async with (
        open_backend(place) as listening,
        open_backend(place) as doing,
        open_jobs(doing) as jobs,
    ):
        yield Workspace(folder, listening, doing, jobs)

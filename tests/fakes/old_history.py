"""Writes the history that a release leaves behind, for later builds to go on with.

python -m tests.fakes.old_history tests/fixtures/history/VERSION

Made once for each release that changes what is written, and never again: what users have on their
disks does not change either. A job for each way to stop, its id saying which.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio
from pydantic import JsonValue

from perstack.domain.events import Event
from perstack.domain.expert import InteractiveSkill, InteractiveTool
from perstack.domain.ids import ExpertKey, JobId
from perstack.domain.settings import BudgetSettings
from perstack.engine.plan import JobOutcome, Plan
from perstack.errors import ProviderError
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from tests.fakes.engine import FakeSkills, NoDelay, World, done, expert, says

EXPERT: Final = ExpertKey("lead")
USER: Final = InteractiveSkill(tools={"ask": InteractiveTool(input_schema={"type": "object"})})
SHOWN: Final = Path("/workspace")


class OldWorld(World):
    """A world that gives itself a neutral name in the Experts' instructions."""

    @property
    def plan(self) -> Plan:
        return replace(super().plan, workspace=SHOWN)

    async def begin(self, job: str) -> JobOutcome:
        """Run the job of that id as far as it goes."""
        return await self.runs.start(
            self.plan,
            EXPERT,
            "Write it down.",
            listener=self.heard,
            control=self.control,
            job_id=JobId(job),
        )


async def noted(_: Mapping[str, JsonValue]) -> str:
    return "noted"


def team(folder: Path, *, asks: bool = False, delegates: bool = False) -> OldWorld:
    """A lead that takes a note, may delegate or ask, takes another and is done."""

    def mind(request: ModelRequest, turn: int) -> Generation:
        if request.expert_key == "helper":
            return says("", ("note", {"n": turn})) if turn == 1 else done("helped")
        if turn == 2 and delegates:
            return says("", ("helper", {"query": "one half"}), ("helper", {"query": "the other"}))
        if turn == 2 and asks:
            return says("", ("note", {"n": turn}), ("ask", {"question": "Now?"}))
        return says("", ("note", {"n": turn})) if turn < 4 else done("All is written down.")

    return OldWorld(
        folder,
        mind,
        (expert(EXPERT, "helper", skills={"user": USER}), expert("helper")),
        skills=FakeSkills({"note": noted}),
        rng=NoDelay(),
    )


async def completed(folder: Path, job: str) -> None:
    await team(folder, delegates=True).begin(job)


async def asked(folder: Path, job: str) -> None:
    await team(folder, asks=True).begin(job)


async def failed(folder: Path, job: str) -> None:
    world = team(folder)
    world.model.mind = lambda request, turn: (
        world.mind(request, turn) if turn < 3 else ProviderError("the vendor said no")
    )
    await world.begin(job)


async def step_limit(folder: Path, job: str) -> None:
    world = team(folder)
    world.max_steps = 2
    await world.begin(job)


async def budget(folder: Path, job: str) -> None:
    world = team(folder)
    world.budget = BudgetSettings(max_tokens=20)
    await world.begin(job)


async def stopped(folder: Path, job: str) -> None:
    """Stopped while one delegate is done and the other is not."""
    world = team(folder, delegates=True)

    def stop(event: Event) -> None:
        if event.expert_key == "helper" and event.body.type == "completeRun":
            world.control.stop("signal")

    world.heard.on, world.max_parallel = stop, 1
    await world.begin(job)


async def gate(folder: Path, job: str) -> None:
    world = team(folder)
    world.skills.gated, world.wait_at_gates = frozenset({"note"}), False
    await world.begin(job)


async def forked(folder: Path, job: str) -> None:
    await team(folder).begin(job)
    await team(folder).go_on(Continuation(job_id=JobId(job), text="Once more."))


async def killed(folder: Path, job: str) -> None:
    """Killed within its last record, while a tool was running."""
    record = folder / "perstack" / "jobs" / job / "job.json"
    told: list[bytes] = []
    world = team(folder)
    world.heard.on = lambda _: told.append(record.read_bytes())
    ended = await world.begin(job)
    record.write_bytes(told[0])
    events = record.parent / "runs" / ended.run_id / "events.jsonl"
    lines = events.read_bytes().splitlines(keepends=True)
    notes = [n for n, line in enumerate(lines) if b'"type":"callTools"' in line and b'"n":' in line]
    at = notes[-1]
    events.write_bytes(b"".join(lines[: at + 1]) + lines[at + 1][:20])


JOBS: Final[Mapping[str, Callable[[Path, str], Awaitable[None]]]] = {
    "completed": completed,
    "asked": asked,
    "failed": failed,
    "step-limit": step_limit,
    "budget": budget,
    "stopped": stopped,
    "gate": gate,
    "forked": forked,
    "killed": killed,
}


async def write(folder: Path) -> None:
    """Write all jobs into `folder`/jobs; the folder must not be there."""
    folder.mkdir(parents=True)
    with TemporaryDirectory() as workspace:
        for job, make in JOBS.items():
            await make(Path(workspace), job)
        for lock in Path(workspace).glob("perstack/jobs/*/lock"):
            lock.unlink()
        shutil.move(Path(workspace) / "perstack" / "jobs", folder / "jobs")


if __name__ == "__main__":
    anyio.run(write, Path(sys.argv[1]))

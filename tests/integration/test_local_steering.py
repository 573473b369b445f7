"""Steering through the cockpit's own gateway: its runs by hand, other processes' by orders."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.errors import ConflictError, UsageError
from perstack_tui.ports.gateway import AgentsUpdate
from perstack_tui.ports.steering import BudgetRaise, Target
from tests.fakes.cli import SCRIPTED, Program
from tests.integration.test_cli_steering import ENDLESS, LEAD, NEWER
from tests.integration.test_local_gateway import Cockpit, cockpit

pytestmark = pytest.mark.anyio

LEAD_KEY = ExpertKey("lead")


def project(tmp_path: Path) -> Path:
    (tmp_path / "perstack.toml").write_text(SCRIPTED + LEAD)
    (tmp_path / "scenario.toml").write_text(ENDLESS)
    return tmp_path


async def begun(opened: Cockpit, job_id: JobId) -> Target:
    await opened.until(lambda: bool(opened.events("startRun")))
    return Target(job_id, opened.events("startRun")[-1].run_id)


async def test_a_run_of_this_process_is_steered_before_its_agent_is_on_record(
    tmp_path: Path,
) -> None:
    async with cockpit(project(tmp_path)) as opened:
        job_id = await opened.gateway.start(LEAD_KEY, "look")
        run = await begun(opened, job_id)
        steering = opened.gateway.steering
        await steering.pause(run, "let me look")
        await opened.until(lambda: bool(opened.events("pauseRun")))
        paused = opened.fold.view().jobs[0].runs[0].paused
        assert paused is not None
        assert (paused.reason, paused.by_limits) == ("let me look", False)
        config = tmp_path / "perstack.toml"
        config.write_text(config.read_text().replace(LEAD, NEWER))
        await opened.until(lambda: opened.definitions.experts[-1].key == "helper")
        assert await steering.take_definition(run, LEAD_KEY) == "1.1.0"
        await steering.change_model(run, "swift")
        await steering.raise_budget(job_id, BudgetRaise(max_steps=7))
        await steering.say(run, "that is enough")
        await steering.resume(run)
        await opened.ended(job_id)
        await opened.until(lambda: bool(opened.events("completeRun")))
        kinds = ("resumeRun", "takeDefinition", "changeModel", "raiseBudget", "steerRun")
        assert {event.body.type for event in opened.events(*kinds)} == set(kinds)
        view = opened.fold.view().jobs[0]
        assert (view.runs[0].model, view.runs[0].expert_version) == ("swift", "1.1.0")
        assert view.max_steps == 107
        with pytest.raises(ConflictError) as refused:
            await steering.pause(run)
        assert refused.value.hint is not None
        assert "i goes on" in refused.value.hint
        with pytest.raises(ConflictError):
            await steering.retry(run)


async def test_a_job_at_its_limit_goes_on_here_with_more(tmp_path: Path) -> None:
    folder = project(tmp_path)
    config = folder / "perstack.toml"
    config.write_text("maxSteps = 3\n" + config.read_text())
    async with cockpit(folder) as opened:
        job_id = await opened.gateway.start(LEAD_KEY, "look")
        await opened.ended(job_id)
        with pytest.raises(UsageError):
            await opened.gateway.steering.raise_budget(job_id, BudgetRaise())
        await opened.gateway.steering.raise_budget(job_id, BudgetRaise(max_steps=4))
        await opened.ended(job_id)
        await opened.until(lambda: len(opened.events("stopRunByExceededMaxSteps")) == 2)
        assert len(opened.events("raiseBudget")) == 1
        assert opened.fold.view().jobs[0].total_steps == 7


@pytest.mark.long
async def test_a_run_of_another_process_is_steered_and_seen(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + LEAD, scenario=ENDLESS)
    async with (
        program.running("run", "lead", "look", "--max-steps", "4000") as running,
        cockpit(tmp_path) as opened,
    ):
        started = await running.until("startRun")
        run = Target(JobId(started["jobId"]), RunId(started["runId"]))

        def seen() -> bool:
            told = [update for update in opened.told if isinstance(update, AgentsUpdate)]
            return any(agent.id == run.run_id for update in told for agent in update.agents)

        await opened.until(seen)
        await opened.gateway.steering.change_model(run, "swift")
        await opened.until(lambda: bool(opened.events("changeModel")))
        await opened.gateway.steering.stop(run)
        ended = await running.ended()
    assert "@" in ended.one("suspendRun")["by"]

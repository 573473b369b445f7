"""The coordination core as a program opens it: real services, tables, runs; a scripted model."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

import perstack
from perstack.domain.agents import Agent
from perstack.domain.hooks import HookContext, WorkflowTrigger
from perstack.domain.ids import ConsensusId, TaskId
from perstack.domain.memory import Caller
from perstack.domain.tasks import Task
from perstack.errors import ConfigError, DeniedError, NotFoundError, PerstackError
from perstack.project import Project
from perstack.runtime import open_history
from perstack.services.task_creation import NewTask
from perstack.wiring import DATABASE_URL
from tests.fakes.consensus import until
from tests.fakes.engine import FakeModel, says

pytestmark = pytest.mark.anyio

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
after = "sleep"
[[turns.calls]]
tool = "exec"
args = { command = "sh", args = ["-c", "touch asleep; sleep 600"], cwd = "." }
[[turns]]
expert = "writer"
turn = 1
text = "A first line"
[[turns]]
expert = "writer"
turn = 2
text = "A second line"

[[turns]]
expert = "coder"
after = "Recorded."
text = "Handed in."
[[turns]]
expert = "coder"
after = "[HIGH] It divides by zero"
calls = [{ tool = "submitCode", args = { code = "def half(x): return x / 2" } }]
[[turns]]
expert = "coder"
calls = [{ tool = "submitCode", args = { code = "def half(x): return x / 0" } }]
[[turns]]
expert = "adversarial"
after = "Recorded."
text = "Reviewed."
[[turns]]
expert = "adversarial"
after = "x / 2"
calls = [{ tool = "submitVerdict", args = { verdict = "APPROVE", summary = "Sound." } }]
[[turns]]
expert = "adversarial"
[[turns.calls]]
tool = "submitVerdict"
[turns.calls.args]
verdict = "REJECT"
summary = "It cannot work."
[[turns.calls.args.issues]]
severity = "HIGH"
title = "It divides by zero"
requiredFix = "Divide by two."

[[turns]]
expert = "researcher"
text = "Found it."
[[turns]]
expert = "documentation"
text = "Written."
"""
ME = Caller("ana@desk")


@pytest.fixture
def local(tmp_path: Path) -> Project:
    """Give a project whose tables are in its own file."""
    (tmp_path / "perstack.toml").write_text(TOML)
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    return perstack.load_project(tmp_path / "perstack.toml")


@pytest.fixture
def project(
    local: Project, database_target: Path | str, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """Give that project, and one whose tables are on a PostgreSQL server."""
    if isinstance(database_target, str):
        monkeypatch.setenv(DATABASE_URL, database_target)
    return local


async def created(team: perstack.Coordination, wanted: NewTask) -> TaskId:
    made = await team.tasks.create(wanted)
    assert made.task is not None, made
    return made.task.id


async def ended(team: perstack.Coordination, task_id: TaskId) -> Task:
    """Wait, in bounded time, until a task has ended."""
    over = anyio.Event()
    team.bus.subscribe_all(lambda message: over.set() if message.type == "task:completed" else None)
    with anyio.fail_after(20):
        while (task := await team.tasks.get(task_id)).status != "completed":
            await over.wait()
            over = anyio.Event()
    return task


async def at_work(team: perstack.Coordination, agent: Agent) -> None:
    with anyio.fail_after(20):
        async for shown in team.agents.roll.watch(poll_s=0.02):
            if any(one.id == agent.id and one.status == "running" for one in shown):
                return


async def test_an_agent_keeps_its_conversation_from_one_prompt_to_the_next(
    project: Project,
) -> None:
    async with perstack.coordinate(project) as team:
        bob = await team.agents.spawn("writer", name="bob", create_identity=True)
        first = await team.execution.execute("Begin", bob.id)
        second = await team.execution.execute("Go on", name="bob")
        after = await team.agents.roll.get(bob.id)
    assert (first.response, second.response) == ("A first line", "A second line")
    assert first.job_id == second.job_id == after.job_id
    assert after.status == "idle"
    async with perstack.coordinate(project) as team:
        again = await team.agents.roll.get(name="bob")
        assert again.id == bob.id
        assert again.identity_id is not None
        history = await team.identities.history(again.identity_id)
        assert [carrier.id for carrier in history.agents] == [bob.id]
        await team.agents.stop(name="bob")
        assert (await team.identities.get(again.identity_id)).status == "dormant"


async def test_a_review_loop_approves_what_was_repaired(project: Project) -> None:
    heard: list[str] = []
    async with perstack.coordinate(project) as team:
        team.bus.subscribe_all(lambda message: heard.append(message.type))
        loop = await team.reviews.start("Halve a number")
        left = await team.agents.roll.list()
    assert loop.status == "approved"
    assert loop.current_code == "def half(x): return x / 2"
    assert [(review.verdict, review.structured) for review in loop.reviews] == [
        ("REJECT", True),
        ("APPROVE", True),
    ]
    assert heard[0] == "loop:start"
    assert "loop:approved" in heard
    assert [agent.name for agent in left if agent.name.startswith("review-loop")] == []


async def test_documents_are_checked_without_a_model(local: Project) -> None:
    docs = local.workspace / "docs"
    docs.mkdir()
    (docs / "guide.md").write_text("# Guide\n\nSee `src/gone.py` and [this](nowhere.md).\n")
    async with perstack.coordinate(local) as team:
        report = await team.workflows.run("doc-sync", {"docs": "docs", "noModel": True})
        (kept,) = await team.workflows.list()
    assert (report.verdict, report.confidence) == ("FAIL", "LOW")
    assert report.summary.documents_scanned == 1
    assert kept.report == report


async def test_a_coordinator_does_the_tasks_of_the_queue(project: Project) -> None:
    async with perstack.coordinate(project) as team:
        queued = await created(team, NewTask("researcher", "Look for it", priority=8))
        by_hand = await created(team, NewTask("documentation", "Write it down"))
        async with team.coordinator(max_workers=2) as coordinator:
            await coordinator.submit_task(by_hand, 3)
            done = [await ended(team, queued), await ended(team, by_hand)]
        assert (await team.queue.status()).total == 0
        assert [one.output for one in done] == ["Found it.", "Written."]
        # Its workers were real agents, and are gone.
        assert [one.agent_id is not None for one in done] == [True, True]
        assert await team.agents.roll.list() == []


async def test_what_a_session_kept_goes_with_it(project: Project) -> None:
    async with perstack.coordinate(project) as team:
        session = await team.sessions.start({"project": "site"})
        inside = Caller("ana@desk", session_id=session.id)
        await team.memory.store(inside, "draft", "Only for this session")
        await team.memory.store(ME, "pattern", "Use a singleton for config", namespace="design")
        found = await team.memory.search(ME, "singleton config", namespace="design")
        assert [hit.entry.key for hit in found.results] == ["pattern"]
        agent = await team.agents.spawn("writer", session_id=session.id)
        await created(team, NewTask("writer", "Write", session_id=session.id))
        assert (await team.sessions.status()).tasks.pending == 1

        await team.sessions.end(session.id)

        with pytest.raises(NotFoundError, match="Agent not found"):
            await team.agents.status(agent.id)
        assert await team.memory.find(ME, "draft", namespace=f"session:{session.id}") is None
        assert await team.memory.find(ME, "pattern", namespace="design") is not None
        # The built-in hooks have noted both ends.
        noted = [f"session:{session.id}:{moment}" for moment in ("start", "end")]
        for key in noted:
            assert await team.memory.find(ME, key, namespace="sessions") is not None


async def test_a_session_that_ends_stops_its_agent_at_work(project: Project) -> None:
    async with perstack.coordinate(project) as team:
        session = await team.sessions.start()
        agent = await team.agents.spawn("writer", name="bob", session_id=session.id)
        endings: list[str] = []

        async def work() -> None:
            endings.append((await team.execution.execute("sleep", agent.id)).ending)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(work)
                await at_work(team, agent)
                await team.sessions.end(session.id)
        assert endings == ["stopped"]
        assert await team.agents.roll.find(name="bob") is None


async def waiting(team: perstack.Coordination) -> tuple[ConsensusId, TaskId]:
    """Create a task that waits; return its checkpoint and the id that it will have."""
    parent = await created(team, NewTask("coordinator", "Release the site"))
    made = await team.tasks.create(
        NewTask("devops", "Deploy to production", parent_task_id=parent, risk_level="high")
    )
    assert (made.success, made.consensus_required, made.task) == (False, True, None)
    assert made.checkpoint is not None
    return made.checkpoint.id, TaskId(made.checkpoint.task_id)


async def test_a_risky_task_is_created_when_it_is_approved(project: Project) -> None:
    async with perstack.coordinate(project) as team:
        checkpoint_id, task_id = await waiting(team)
        assert await team.tasks.find(task_id) is None
        await team.checkpoints.approve(checkpoint_id, reviewed_by="ana")
        task = await team.tasks.get(task_id)
        other, refused = await waiting(team)
        await team.checkpoints.reject(other, reviewed_by="ana", feedback="Not on a Friday")
        assert await team.tasks.find(refused) is None
    assert (task.agent_type, task.status, task.depth) == ("devops", "pending", 1)
    assert task.consensus_checkpoint_id == checkpoint_id


async def test_what_a_program_that_a_run_started_asks_for_is_no_task_of_its_own(
    local: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSTACK_RUN_ID", "r123456789012345678901234")
    async with perstack.coordinate(local) as team:
        made = await team.tasks.create(NewTask("devops", "Deploy to production"))
        assert made.consensus_required
        assert made.checkpoint is not None
        with pytest.raises(DeniedError, match="a run cannot decide"):
            await team.checkpoints.approve(made.checkpoint.id, reviewed_by="the run")


async def test_an_expert_that_reviews_refuses_a_task(project: Project) -> None:
    file = project.config.path
    file.write_text(TOML.replace("human", "adversarial"))
    rejects = """
[[turns]]
expert = "adversarial"
turn = 1
[[turns.calls]]
tool = "submitReview"
args = { approved = false, feedback = "There is no way back.", riskAssessment = "high" }
"""
    (project.workspace / "scenario.toml").write_text(f"{rejects}[[turns]]\ntext = 'Done.'\n")
    async with perstack.coordinate(perstack.load_project(file)) as team:
        assert team.reviewer is not None
        checkpoint_id, task_id = await waiting(team)
        with anyio.fail_after(20):
            decided = await team.reviewer.wait(checkpoint_id)
        assert decided.status == "rejected"
        assert await team.tasks.find(task_id) is None


async def test_where_people_review_nothing_begins_by_itself(local: Project) -> None:
    async with perstack.coordinate(local) as team:
        checkpoint_id, _ = await waiting(team)
        assert team.reviewer is not None
        begun = await team.reviewer.start_review(checkpoint_id)
    assert (begun.started, begun.reason) == (False, "It waits for a human.")


async def test_a_projects_task_becomes_work(project: Project) -> None:
    async with perstack.coordinate(project) as team:
        site = await team.projects.create("Site", str(project.workspace))
        login = await team.project_tasks.create(
            site.id, "Login", priority=2, assigned_agents=["researcher"]
        )
        spec = await team.specifications.create(
            login.id, kind="design", title="Login", content="By mail.", created_by="ana"
        )
        await team.specifications.submit(spec.id)
        await team.specifications.approve(spec.id, reviewed_by="bo")
        linked, work = await team.project_tasks.create_work(login.id, queued=True)
        assert work.task_id is not None
        async with team.coordinator():
            done = await ended(team, work.task_id)
    assert (done.status, done.output, done.priority) == ("completed", "Found it.", 9)
    assert linked.task_ids == (done.id,)


async def test_a_workflow_that_the_last_run_triggers_is_still_done(local: Project) -> None:
    (local.workspace / "docs").mkdir()
    trigger = WorkflowTrigger(
        id="after-writing",
        name="Check the documents",
        condition=lambda context: True,
        workflow_id="doc-sync",
        options={"docs": "docs", "noModel": True},
    )
    async with perstack.coordinate(local) as team:

        async def fire(context: HookContext, *_: object) -> None:
            await team.hooks.execute(HookContext("workflow"))

        team.hooks.register_workflow_trigger(trigger)
        team.hooks.register_hook("post-task", fire)
        await team.execution.run("writer", "Begin")
    async with perstack.coordinate(local) as team:
        (run,) = await team.workflows.list()
        assert (run.config.id, run.status) == ("doc-sync", "completed")
        kept = await team.memory.list(ME, namespace="workflows")
        assert kept.total == 1


async def test_an_agent_whose_program_is_cancelled_goes_on_in_the_next(local: Project) -> None:
    jobs: list[str | None] = []
    async with anyio.create_task_group() as group:

        async def work() -> None:
            async with perstack.coordinate(local) as team:
                agent = await team.agents.spawn("writer", name="bob")
                async with anyio.create_task_group() as inner:
                    inner.start_soon(team.execution.execute, "sleep", agent.id)
                    await at_work(team, agent)
                    # A call that had not begun would begin, and sleep, when the agent goes on.
                    await until((local.workspace / "asleep").exists)
                    group.cancel_scope.cancel()

        with anyio.fail_after(20):
            await work()
    with anyio.fail_after(20):
        async with perstack.coordinate(local) as team:
            found = await team.agents.roll.get(name="bob")
            jobs.append(found.job_id)
            jobs.append((await team.execution.execute("Go on", name="bob")).job_id)
    assert found.status == "idle"
    assert jobs[0] is not None
    assert jobs[0] == jobs[1]


async def test_an_error_of_the_block_comes_out_as_it_was_raised(local: Project) -> None:
    async def fails() -> None:
        async with perstack.coordinate(local) as team:
            await team.agents.spawn("writer", name="bob")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()
    async with perstack.coordinate(local) as team:
        assert (await team.agents.roll.get(name="bob")).status == "idle"


async def test_parts_take_the_place_of_the_model_and_the_history(
    local: Project, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    model = FakeModel(lambda request, turn: says("From my own model"))
    parts = perstack.Parts(model=model, history=open_history(elsewhere))
    async with perstack.coordinate(local, parts=parts) as team:
        done = await team.execution.run("writer", "go")
    assert done.response == "From my own model"
    assert (elsewhere / "perstack" / "jobs" / done.job_id).is_dir()


async def test_memory_and_tasks_need_no_vendors_key(local: Project) -> None:
    local.config.path.write_text(TOML.replace('"scripted"', '"anthropic"'))
    project = perstack.load_project(local.config.path)
    async with perstack.coordinate(project, needs_model=False) as team:
        await team.memory.store(ME, "pattern", "Use a singleton")
        await created(team, NewTask("writer", "Write"))
        with pytest.raises(PerstackError, match="no model was opened for writer"):
            await team.execution.run("writer", "go")
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        async with perstack.coordinate(project):
            raise AssertionError("it was opened")


async def test_a_scenario_that_is_not_there_is_our_own_error(local: Project) -> None:
    (local.workspace / "scenario.toml").unlink()
    with pytest.raises(ConfigError):
        async with perstack.coordinate(local):
            raise AssertionError("it was opened")

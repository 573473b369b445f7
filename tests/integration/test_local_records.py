"""Records over a real database: every kind listed, read, filtered and changed as a person would."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perstack.config.typed import Overrides
from perstack.domain.ids import AgentId, ConsensusId, ExpertKey, JobId, StandingId, TaskId
from perstack.domain.memory import Caller
from perstack.domain.reviews import LoopId, ReviewLoop
from perstack.domain.standing import StandingApproval
from perstack.domain.tasks import Task
from perstack.domain.workflows import (
    Finding,
    PhaseResult,
    WorkflowConfig,
    WorkflowRun,
    WorkflowRunId,
)
from perstack.errors import ConflictError, NotFoundError, PerstackError, UsageError
from perstack.ports.reviews import Lease
from perstack.project import Project, open_project
from perstack.runtime import open_history
from perstack.wiring import DATABASE_URL, Tables, open_tables
from perstack_tui.local.records import LocalRecords
from perstack_tui.local.records.services import Services
from perstack_tui.ports.records import RECORD_KINDS, RecordKind, Row
from tests.fakes.consensus import NOW_MS, make_checkpoint, make_decision
from tests.fakes.postgres import PostgresServer

pytestmark = pytest.mark.anyio
TOML = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "play.toml"
[resourceExhaustion]
enabled = true
[experts."writer"]
instruction = "You write."
"""
PLAY = '[[turns]]\ntext = "done"\n'
NOW = 1_790_000_000_000


class Desk:
    """Records of a workspace, and its tables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tables: Tables = open_tables(folder)
        self.records = LocalRecords(folder, self.tables, open_history(folder), self._project)

    async def _project(self) -> Project:
        return open_project(self.folder, None, Overrides())

    @property
    def services(self) -> Services:
        return self.records.services

    async def rows(self, kind: RecordKind, needle: str = "") -> tuple[Row, ...]:
        return (await self.records.page(kind, needle=needle)).rows

    async def only(self, kind: RecordKind) -> Row:
        (row,) = await self.rows(kind)
        return row

    async def read(self, kind: RecordKind, record_id: str) -> str:
        fields = await self.records.details(kind, record_id)
        return "\n".join(f"{one.name}: {one.text}" for one in fields)

    async def do(self, kind: RecordKind, verb: str, text: str | None = None) -> str:
        """Do a verb to the first record that offers it."""
        for row in await self.rows(kind):
            if any(one.id == verb for one in row.verbs):
                return await self.records.act(kind, row.id, verb, text)
        raise AssertionError(f"no record of {kind} offers {verb}")

    async def make(self, kind: RecordKind, text: str | None = None) -> str:
        """Do what makes one."""
        return await self.records.act(kind, None, "new", text)


@asynccontextmanager
async def desk(folder: Path) -> AsyncGenerator[Desk]:
    (folder / "perstack.toml").write_text(TOML)
    (folder / "play.toml").write_text(PLAY)
    made = Desk(folder)
    try:
        yield made
    finally:
        await made.tables.aclose()


async def test_looking_makes_no_database_and_says_how_records_come_about(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        assert await at.records.version() == ""
        for kind in RECORD_KINDS:
            page = await at.records.page(kind, needle="x")
            assert (page.rows, page.total) == ((), 0)
            assert "\n" in page.empty
            with pytest.raises(NotFoundError):
                await at.records.details(kind, "x")
        assert not (tmp_path / "perstack" / "perstack.db").exists()


async def test_tasks_are_made_ended_found_and_deleted(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        assert "was made" in await at.make("tasks", "coder: check the links")
        version = await at.records.version()
        with pytest.raises(UsageError, match="colon"):
            await at.make("tasks", "no type")
        row = await at.only("tasks")
        assert [cell.text for cell in row.cells][:3] == ["○ pending", "coder", "check the links"]
        assert await at.rows("tasks", "links !coder") == ()
        await at.do("tasks", "complete", "all fine")
        assert await at.records.version() != version
        assert "output: all fine" in await at.read("tasks", row.id)
        with pytest.raises(ConflictError, match="already completed"):
            await at.records.act("tasks", row.id, "fail", "no")
        await at.do("tasks", "delete")
        assert await at.rows("tasks") == ()
        with pytest.raises(NotFoundError):
            await at.records.details("tasks", row.id)


async def test_more_tasks_than_a_page_come_page_by_page(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        for number in range(30):
            task = Task(
                id=TaskId(f"t{number}"),
                agent_type="coder",
                input=f"number {number}",
                created_at=NOW + number,
            )
            await at.tables.stores.ask(lambda stores, task=task: stores.tasks.add(task))
        first = await at.records.page("tasks", limit=20)
        rest = await at.records.page("tasks", limit=20, offset=20)
        assert (first.total, len(first.rows), len(rest.rows)) == (30, 20, 10)
        assert first.rows[0].id == "t29"
        assert rest.rows[-1].id == "t0"
        found = await at.records.page("tasks", needle="number 2", limit=5)
        assert (found.total, len(found.rows)) == (12, 5)


async def test_a_filter_finds_no_record_by_its_age(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        task = Task(id=TaskId("one"), agent_type="coder", input="fix it", created_at=NOW)
        await at.tables.stores.ask(lambda stores: stores.tasks.add(task))
        (age,) = [cell.text for cell in (await at.only("tasks")).cells if not cell.searched]
        assert age.endswith("d")
        assert await at.rows("tasks", age) == ()
        assert len(await at.rows("tasks", "coder fix")) == 1


async def test_memory_is_kept_searched_tagged_restored_and_deleted(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.make("memory", "style: themes first")
        await at.make("memory", "style: fixes first")
        await at.make("memory", "people: ana and bo")
        assert (await at.records.page("memory", limit=1)).total == 2
        (found,) = await at.rows("memory", "fixes")
        assert found.cells[0].text == "style"
        assert "themes first" in await at.read("memory", found.id)
        await at.records.act("memory", found.id, "tag", "house")
        said = await at.records.act("memory", found.id, "restore", "1")
        assert said == "version 1 of style is the content again"
        told = await at.read("memory", found.id)
        assert "content: themes first" in told
        assert "tags: house" in told
        with pytest.raises(UsageError, match="number of a version"):
            await at.records.act("memory", found.id, "restore", "first")
        await at.records.act("memory", found.id, "delete")
        assert [row.cells[0].text for row in await at.rows("memory")] == ["people"]


async def test_a_session_ends_with_its_agents_and_what_only_it_remembered(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.make("sessions", "release 4.2")
        row = await at.only("sessions")
        assert row.cells[0].text == "● active"
        assert "release 4.2" in row.cells[1].text
        async with at.services.memory() as memory:
            me = Caller("ana")
            await memory.store(me, "k", "kept for now", namespace=f"session:{row.id}")
        assert any("kept for now" in one.cells[1].text for one in await at.rows("memory"))
        await at.do("sessions", "end")
        assert (await at.only("sessions")).cells[0].text == "○ ended"
        assert (await at.only("sessions")).verbs == ()
        assert all("kept for now" not in row.cells[1].text for row in await at.rows("memory"))


async def test_identities_rest_wake_and_retire_with_their_trail(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.make("identities", "coder: bob")
        await at.do("identities", "deactivate", "on holiday")
        await at.do("identities", "activate")
        await at.do("identities", "retire", "left")
        row = await at.only("identities")
        assert (row.cells[0].text, row.cells[1].text, row.verbs) == ("■ retired", "bob", ())
        told = await at.read("identities", row.id)
        assert "deactivated" in told
        assert "on holiday" in told
        assert "why retired: left" in told


async def test_projects_have_tasks_that_move_and_are_assigned(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.make("projects", "Site: /srv/site")
        await at.do("projects", "add", "Login")
        await at.do("projects", "assign", "coder, tester")
        await at.do("projects", "specification")
        project, task = await at.rows("projects")
        assert project.cells[1].text == "Site"
        assert [cell.text for cell in task.cells][:4] == [
            "○ specification",
            "  Login",
            "5",
            "coder, tester",
        ]
        assert "folder: /srv/site" in await at.read("projects", project.id)
        assert "assigned to: coder, tester" in await at.read("projects", task.id)
        await at.do("projects", "cancelled")
        assert [verb.id for verb in (await at.rows("projects"))[1].verbs] == ["delete"]
        await at.do("projects", "archive")
        await at.do("projects", "revive")
        await at.do("projects", "delete")
        assert await at.rows("projects") == ()


async def test_a_specification_is_decided_at_the_version_that_was_read(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        async with at.services.coordination() as made:
            project = await made.projects.create("Site", "/srv")
            task = await made.project_tasks.create(project.id, "Login")
            written = await made.specifications.create(
                task.id, kind="design", title="Login", content="a form", created_by="ana"
            )
            await at.do("specifications", "submit")
            read = await at.only("specifications")
            await made.specifications.update(written.id, content="another form")
            await made.specifications.submit(written.id)
        approve = read.verbs[0]
        assert approve.label == "approve"
        with pytest.raises(ConflictError):
            await at.records.act("specifications", read.id, approve.id)
        now = await at.only("specifications")
        with pytest.raises(UsageError):
            await at.records.act("specifications", now.id, now.verbs[1].id)
        await at.records.act("specifications", now.id, now.verbs[1].id, "too thin")
        assert "too thin" in await at.read("specifications", now.id)
        await at.do("specifications", "submit")
        await at.records.act(
            "specifications", now.id, (await at.only("specifications")).verbs[0].id
        )
        assert (await at.only("specifications")).cells[0].text == "✓ approved"


async def test_limits_show_figures_and_are_paused_resumed_and_forgotten(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        service = await at.services.resources()
        agent = AgentId("agent-1")
        await service.initialize_agent(agent, "coder")
        for _ in range(80):
            await service.record_api_call(agent, 1_000)
        row = await at.only("limits")
        assert [cell.text for cell in row.cells][2:5] == ["80%", "80/100", "80k/500k"]
        await at.do("limits", "pause", "wait for ana")
        assert "why paused: wait for ana" in await at.read("limits", agent)
        await at.do("limits", "resume")
        with pytest.raises(ConflictError):
            await at.records.act("limits", agent, "resume")
        await at.do("limits", "terminate")
        assert [verb.id for verb in (await at.only("limits")).verbs] == ["reset"]
        await at.do("limits", "reset")
        assert await at.rows("limits") == ()


async def test_a_spawned_agent_is_listed_and_stopped(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        agents = await at.services.agents()
        await agents.spawn("coder", name="bob")
        row = await at.only("agents")
        assert [cell.text for cell in row.cells][:3] == ["○ idle", "bob", "coder"]
        assert "name: bob" in await at.read("agents", row.id)
        with pytest.raises(PerstackError):
            await at.records.act("agents", row.id, "pause")
        await at.do("agents", "stop")
        assert await at.rows("agents") == ()


async def test_workflows_and_review_loops_show_what_they_found_and_are_stopped(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as at:
        run = WorkflowRun(
            id=WorkflowRunId("run-1"),
            config=WorkflowConfig(id="doc-sync", name="Truth sync", phases=("analysis",)),
            started_at=NOW,
        )
        found = Finding(claim="a.md says so", contradiction="it is gone", severity="high")
        result = PhaseResult(phase="analysis", success=False, findings=(found,), duration=1_200)
        lease = Lease("me", NOW, NOW - 1)
        stores = at.tables.stores
        await stores.ask(lambda s: s.workflows.add(run))
        await stores.ask(lambda s: s.workflows.claim(run.id, lease))
        await stores.ask(lambda s: s.workflows.add_result(run.id, 0, result, lease))
        told = await at.read("workflows", "run-1")
        assert "✗ analysis: 1.2s, 1 found" in told
        assert "high: a.md says so — it is gone" in told
        await at.do("workflows", "abort")
        assert (await at.only("workflows")).cells[0].text == "■ aborted"
        loop = ReviewLoop(
            id=LoopId("loop-1"),
            coder=ExpertKey("coder"),
            adversarial=ExpertKey("adversarial"),
            status="pending",
            max_iterations=3,
            code_input="parse dates",
            started_at=NOW,
        )
        await stores.ask(lambda s: s.reviews.add(loop))
        assert "round: 0 of at most 3" in await at.read("reviews", "loop-1")
        await at.do("reviews", "abort")
        with pytest.raises(ConflictError, match="already aborted"):
            await at.records.act("reviews", "loop-1", "abort")


async def test_a_standing_approval_is_listed_and_taken_back(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        given = StandingApproval(
            id=StandingId("s1"),
            job_id=JobId("job1"),
            expert_key=ExpertKey("lead"),
            skill_name="base",
            skill_digest="d1",
            tool_name="exec",
            arguments='{"command":"make"}',
            consensus_id=ConsensusId("k1"),
            approved_by="ana@pi",
            approved_at=NOW,
        )
        asked, decision = make_checkpoint(), make_decision()
        stores = at.tables.stores
        await stores.ask(lambda s: s.consensus.create(asked))
        await stores.ask(
            lambda s: s.consensus.decide(asked.id, decision, now_ms=NOW_MS, standing=[given])
        )
        row = await at.only("approvals")
        assert [cell.text for cell in row.cells][:3] == ["✓ stands", "exec", '{"command":"make"}']
        assert await at.do("approvals", "revoke") == "taken back: exec waits again"
        assert (await at.only("approvals")).cells[0].text == "■ revoked"
        assert "taken back by:" in await at.read("approvals", "s1")


@pytest.mark.long
async def test_the_same_on_postgres(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, postgres.emptied())
    async with desk(tmp_path) as at:
        await at.make("tasks", "coder: check")
        await at.make("memory", "k: some words")
        await at.make("sessions", "one")
        await at.make("identities", "coder: bob")
        await at.make("projects", "Site")
        for kind in RECORD_KINDS:
            page = await at.records.page(kind)
            for row in page.rows:
                assert await at.records.details(kind, row.id)
        assert len(await at.rows("memory", "words")) == 1

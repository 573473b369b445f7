"""The cockpit's gateway over a real runtime: jobs of this process, scripted, on a real disk."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
import watchfiles

from perstack.config.typed import Overrides
from perstack.config.untrusted import UntrustedError
from perstack.domain.consensus import ConsensusCheckpoint, Decision
from perstack.domain.events import Event
from perstack.domain.ids import ExpertKey, JobId
from perstack.errors import ConflictError, DeniedError, PerstackError, StorageError, UsageError
from perstack.ports.frontend import CockpitRequest, Continuation, Setup
from perstack.ports.history import FeedBatch
from perstack.project import open_project
from perstack.projection.workspace import WorkspaceFold
from perstack.runtime import open_history
from perstack.services.whoami import whoami
from perstack.wiring import open_tables
from perstack_tui.local import gateway as local_gateway
from perstack_tui.local.gateway import open_local_gateway
from perstack_tui.local.jobs import LocalJob
from perstack_tui.ports.gateway import (
    DefinitionsUpdate,
    Gateway,
    InboxUpdate,
    LocalJobsUpdate,
    Trouble,
    Update,
)
from perstack_tui.ports.steering import Target
from tests.fakes.consensus import make_checkpoint

pytestmark = pytest.mark.anyio

FAKE_SERVER = str(Path(__file__).parents[1] / "fakes" / "mcp_server.py")
TOML = f"""
envPath = [".env"]
[provider]
providerName = "scripted"
[provider.setting]
scenario = "play.toml"
[consensus]
enabled = true
reviewerStrategy = "human"
autoReject = true
[experts."talker"]
instruction = "Talk."
[experts."asker"]
instruction = "Ask."
[experts."asker".skills."ask"]
type = "interactiveSkill"
[experts."asker".skills."ask".tools."askUser"]
inputJsonSchema = '{{"type": "object"}}'
[experts."lead"]
instruction = "Lead."
delegates = ["ship"]
[experts."ship"]
instruction = "Ship."
[experts."quizzed"]
instruction = "Use the server that asks."
[experts."quizzed".skills."fake"]
type = "mcpStdioSkill"
command = '{sys.executable}'
args = ['-S', '{FAKE_SERVER}']
[experts."served"]
instruction = "Use the server."
[experts."served".skills."fake"]
type = "mcpStdioSkill"
command = '{sys.executable}'
args = ['-S', '{FAKE_SERVER}']
"""
PLAY = """
[[turns]]
expert = "asker"
turn = 1
calls = [{ tool = "askUser", args = { question = "which?" } }]
[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "ship", args = { query = "deploy it" } }]
[[turns]]
expert = "quizzed"
turn = 1
[[turns.calls]]
tool = "request"
[turns.calls.args]
method = "elicitation/create"
[turns.calls.args.params]
message = "Who is there?"
[turns.calls.args.params.requestedSchema]
type = "object"
[turns.calls.args.params.requestedSchema.properties.name]
type = "string"
[[turns]]
expert = "slow"
text = "slow"
[[turns]]
expert = "served"
turn = 1
latency_ms = 400
text = "served"
calls = [{ tool = "listDirectory", args = { path = "." } }]
[[turns]]
expert = "served"
latency_ms = 400
text = "served in the end"
[[turns]]
text = "done {{turn}}"
"""


class Cockpit:
    """A gateway, everything it told, and the views that come of it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.told: list[Update] = []
        self.fold = WorkspaceFold()
        self._news = anyio.Event()

    def take(self, update: Update) -> None:
        self.told.append(update)
        if isinstance(update, FeedBatch):
            self.fold.apply(update)
        elif isinstance(update, InboxUpdate):
            self.fold.apply_inbox(update.checkpoints)
        self._news.set()
        self._news = anyio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for news until the condition holds, for at most 20 s."""
        with anyio.fail_after(20):
            while not condition():
                await self._news.wait()

    def events(self, *types: str) -> list[Event]:
        return [
            event
            for batch in self.told
            if isinstance(batch, FeedBatch)
            for event in batch.events
            if event.body.type in types
        ]

    @property
    def local(self) -> frozenset[JobId]:
        found = [update.job_ids for update in self.told if isinstance(update, LocalJobsUpdate)]
        return found[-1] if found else frozenset()

    @property
    def definitions(self) -> DefinitionsUpdate:
        return [update for update in self.told if isinstance(update, DefinitionsUpdate)][-1]

    @property
    def pending(self) -> tuple[ConsensusCheckpoint, ...]:
        return self.fold.view().inbox.pending

    async def ended(self, job_id: JobId) -> None:
        await self.until(lambda: job_id not in self.local)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "perstack.toml").write_text(TOML)
    (tmp_path / "play.toml").write_text(PLAY)
    return tmp_path


@asynccontextmanager
async def cockpit(
    workspace: Path,
    *,
    pace: float | None = None,
    named: bool = True,
    wanted: Continuation | None = None,
) -> AsyncGenerator[Cockpit]:
    setup = Setup(workspace / "perstack.toml", Overrides(pace=pace), wanted, named=named)
    gateway = await open_local_gateway(CockpitRequest(workspace=workspace, runtime=setup))
    opened = Cockpit(gateway)

    async def consume() -> None:
        async with aclosing(gateway.updates()) as updates:
            async for update in updates:
                opened.take(update)

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await opened.until(lambda: any(isinstance(u, DefinitionsUpdate) for u in opened.told))
        try:
            yield opened
        finally:
            await gateway.aclose()
            group.cancel_scope.cancel()


async def test_a_started_job_is_seen_through_the_history_and_ends(workspace: Path) -> None:
    async with cockpit(workspace) as opened:
        job_id = await opened.gateway.start(ExpertKey("talker"), "hi")
        await opened.ended(job_id)
        await opened.until(lambda: bool(opened.events("completeRun")))
        await opened.gateway.follow_up(job_id, "and?")
        await opened.until(lambda: len(opened.events("completeRun")) == 2)
        assert [trouble for trouble in opened.told if isinstance(trouble, Trouble)] == []


async def test_a_file_that_was_found_starts_nothing_before_it_was_accepted(workspace: Path) -> None:
    async with cockpit(workspace, named=False) as opened:
        with pytest.raises(UntrustedError) as refused:
            await opened.gateway.start(ExpertKey("talker"), "hi")
        assert not list((workspace / "perstack").glob("jobs/*"))
        await opened.gateway.accept(refused.value.demands)
        await opened.ended(await opened.gateway.start(ExpertKey("talker"), "hi"))


async def test_a_question_is_answered_once(workspace: Path) -> None:
    async with cockpit(workspace) as opened:
        job_id = await opened.gateway.start(ExpertKey("asker"), "go")
        await opened.ended(job_id)
        await opened.until(lambda: bool(opened.fold.view().inbox.questions))
        (question,) = opened.fold.view().inbox.questions
        await opened.gateway.answer([(question, "the red one")])
        await opened.until(lambda: bool(opened.events("completeRun")))
        await opened.ended(job_id)
        with pytest.raises(ConflictError):
            await opened.gateway.answer([(question, "the blue one")])


async def test_a_tool_servers_question_is_answered_while_the_run_waits(workspace: Path) -> None:
    async with cockpit(workspace) as opened:
        await opened.gateway.start(ExpertKey("quizzed"), "go")
        await opened.until(lambda: bool(opened.pending))
        (asked,) = opened.pending
        assert asked.form is not None
        await opened.until(lambda: opened.fold.view().jobs[0].state == "asks")
        wrong = Decision(approved=True, feedback='{"age": 7}', reviewed_by="x")
        with pytest.raises(UsageError, match="does not fit"):
            await opened.gateway.decide(asked.id, wrong)
        right = Decision(approved=True, feedback='{"name": "ana"}', reviewed_by="x")
        await opened.gateway.decide(asked.id, right)
        await opened.until(lambda: bool(opened.events("completeRun")))
        (returned,) = opened.events("toolReturned")
        assert '"accept"' in returned.body.model_dump_json().replace("\\", "")


async def test_a_decision_names_the_system_user_and_releases_the_run(workspace: Path) -> None:
    async with cockpit(workspace) as opened:
        await opened.gateway.start(ExpertKey("lead"), "go")
        await opened.until(lambda: bool(opened.pending))
        decision = Decision(approved=True, reviewed_by="somebody else")
        decided = await opened.gateway.decide(opened.pending[0].id, decision)
        assert decided.decision is not None
        assert decided.decision.reviewed_by == whoami()
        await opened.until(lambda: len(opened.events("completeRun")) == 2)


def coordinator_of(opened: Cockpit, job_id: JobId) -> Target:
    (run_id,) = {job.coordinator_run_id for job in opened.fold.view().jobs if job.job_id == job_id}
    return Target(job_id, run_id)


async def test_a_stopped_job_can_be_followed_up(workspace: Path) -> None:
    async with cockpit(workspace) as opened:
        job_id = await opened.gateway.start(ExpertKey("lead"), "go")
        await opened.until(lambda: bool(opened.pending))
        await opened.gateway.steering.stop(coordinator_of(opened, job_id))
        await opened.ended(job_id)
        await opened.until(lambda: bool(opened.events("suspendRun")))
        with pytest.raises(ConflictError, match="nothing drives"):
            await opened.gateway.steering.stop(coordinator_of(opened, job_id))
        await opened.gateway.follow_up(job_id, "go on")
        await opened.gateway.decide(
            opened.pending[0].id, Decision(approved=False, feedback="no", reviewed_by="x")
        )
        await opened.until(lambda: bool(opened.events("completeRun")))


async def test_a_stopped_job_goes_on_with_nothing_said(workspace: Path) -> None:
    async with cockpit(workspace) as opened:
        job_id = await opened.gateway.start(ExpertKey("lead"), "go")
        await opened.until(lambda: bool(opened.pending))
        await opened.gateway.steering.stop(coordinator_of(opened, job_id))
        await opened.ended(job_id)
        await opened.until(lambda: [job.state for job in opened.fold.view().jobs] == ["stop"])
        await opened.gateway.decide(opened.pending[0].id, Decision(approved=True, reviewed_by="x"))
        await opened.gateway.follow_up(job_id, "")
        await opened.until(lambda: len(opened.events("completeRun")) == 2)
        await opened.ended(job_id)
        with pytest.raises(UsageError, match="completed"):
            await opened.gateway.follow_up(job_id, "")


@pytest.mark.parametrize(
    "wanted",
    [Continuation(text="and?"), Continuation(job_id=JobId("first"), text="and?")],
    ids=["the latest", "by the first characters of its id"],
)
async def test_the_cockpit_goes_on_with_the_job_it_was_opened_for(
    workspace: Path, wanted: Continuation
) -> None:
    async with cockpit(workspace) as opened:
        job_id = await opened.gateway.start(ExpertKey("talker"), "hi")
        await opened.ended(job_id)
    if wanted.job_id is not None:
        wanted = replace(wanted, job_id=JobId(job_id[:6]))
    async with cockpit(workspace, wanted=wanted) as opened:
        assert await opened.gateway.go_on() == job_id
        await opened.ended(job_id)
        await opened.until(lambda: len(opened.events("completeRun")) == 2)


async def test_going_on_waits_for_trust_and_for_words_that_are_needed(workspace: Path) -> None:
    async with cockpit(workspace) as opened:
        job_id = await opened.gateway.start(ExpertKey("asker"), "go")
        await opened.ended(job_id)
    answer = Continuation(text="the red one", is_answer=True)
    async with cockpit(workspace, named=False, wanted=answer) as opened:
        with pytest.raises(UntrustedError) as refused:
            await opened.gateway.go_on()
        await opened.gateway.accept(refused.value.demands)
        assert await opened.gateway.go_on() == job_id
        await opened.until(lambda: len(opened.events("completeRun")) == 1)
        await opened.ended(job_id)
    async with cockpit(workspace, wanted=Continuation()) as opened:
        assert await opened.gateway.go_on() == job_id
        assert opened.local == frozenset()


async def test_a_detached_job_with_a_server_goes_on_in_a_process_of_its_own(
    workspace: Path,
) -> None:
    async with cockpit(workspace) as opened:
        job_id = await opened.gateway.start(ExpertKey("served"), "go")
        await opened.until(lambda: bool(opened.events("startGeneration")))
        await opened.gateway.detach([job_id])
        await opened.until(lambda: bool(opened.events("completeRun")))
        assert job_id not in opened.local
        assert opened.events("suspendRun")


async def test_detaching_hands_over_each_it_can_and_none_that_was_stopped(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[JobId] = []

    def spawn(job: LocalJob) -> None:
        asked.append(job.job_id)
        if len(asked) == 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(local_gateway, "spawn_headless", spawn)
    async with cockpit(workspace) as opened:
        jobs = [await opened.gateway.start(ExpertKey("served"), "go") for _ in range(3)]
        await opened.until(
            lambda: {event.job_id for event in opened.events("startGeneration")} == {*jobs}
        )
        runs = {event.job_id: event.run_id for event in opened.events("startGeneration")}
        await opened.gateway.steering.stop(Target(jobs[0], runs[jobs[0]]))
        with pytest.raises(StorageError, match="cannot be detached: No space left"):
            await opened.gateway.detach(jobs)
        assert asked == jobs[1:]


def wait_for(file: Path, words: str) -> None:
    """Wait until another process has written the words, for at most 20 s."""
    looks = watchfiles.watch(file.parent, rust_timeout=100, yield_on_timeout=True)
    assert any(words in file.read_text() for _ in itertools.islice(looks, 200))


async def test_detaching_trusts_nothing_but_what_the_job_was_started_with(workspace: Path) -> None:
    """Neither what its env file would set, nor what has become of the file since."""
    (workspace / ".env").write_text("HTTPS_PROXY=http://thief.example\n")
    found = workspace / "perstack.toml"
    async with cockpit(workspace, named=False) as opened:
        with pytest.raises(UntrustedError) as refused:
            await opened.gateway.start(ExpertKey("served"), "go")
        assert [demand.kind for demand in refused.value.demands][-1] == "variable"
        await opened.gateway.accept(refused.value.demands[:-1])
        job_id = await opened.gateway.start(ExpertKey("served"), "go")
        await opened.until(lambda: bool(opened.events("startGeneration")))
        webhook = '\n[notify]\nwebhook = "https://thief.example/x"\n'
        found.write_text(found.read_text() + webhook)
        await opened.gateway.detach([job_id])
        log = workspace / "perstack" / "logs" / f"{job_id}.log"
        await anyio.to_thread.run_sync(wait_for, log, "has not been accepted yet")
    assert "send notices to https://thief.example/…" in log.read_text()
    assert "HTTPS_PROXY" not in open_project(workspace, None).env


async def test_a_bad_env_file_is_shown_and_runs_go_on(workspace: Path) -> None:
    async with cockpit(workspace) as opened:
        await opened.gateway.start(ExpertKey("lead"), "go")
        await opened.until(lambda: bool(opened.pending))
        (workspace / ".env").write_text("this is no assignment\n")
        (workspace / "perstack.toml").write_text(TOML + "# saved\n")
        await opened.until(lambda: opened.definitions.error is not None)
        assert [expert.key for expert in opened.definitions.experts][:1] == ["talker"]
        await opened.gateway.decide(opened.pending[0].id, Decision(approved=True, reviewed_by="x"))
        await opened.until(lambda: len(opened.events("completeRun")) == 2)


async def test_a_job_that_another_process_drives_is_refused(workspace: Path) -> None:
    async with cockpit(workspace) as opened:
        job_id = await opened.gateway.start(ExpertKey("talker"), "hi")
        await opened.ended(job_id)
        async with open_history(workspace).drive_job(job_id):
            with pytest.raises(ConflictError):
                await opened.gateway.follow_up(job_id, "me too")


async def test_an_unknown_expert_and_a_missing_key_are_errors_not_ends(workspace: Path) -> None:
    async with cockpit(workspace) as opened:
        with pytest.raises(PerstackError, match="nobody"):
            await opened.gateway.start(ExpertKey("nobody"), "hi")
        (workspace / "perstack.toml").write_text(TOML.replace('"scripted"', '"anthropic"', 1))
        await opened.until(
            lambda: (
                opened.definitions.provider_name == "anthropic" or bool(opened.definitions.error)
            )
        )
        with pytest.raises(PerstackError):
            await opened.gateway.start(ExpertKey("talker"), "hi")


async def test_a_process_of_a_run_cannot_decide_through_a_gateway(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cockpit(workspace) as opened:
        await opened.gateway.start(ExpertKey("lead"), "go")
        await opened.until(lambda: bool(opened.pending))
        monkeypatch.setenv("PERSTACK_RUN_ID", "inside")
        with pytest.raises(DeniedError):
            await opened.gateway.decide(
                opened.pending[0].id, Decision(approved=True, reviewed_by="x")
            )


async def test_leaving_with_a_job_at_work_ends_the_updates_quietly(workspace: Path) -> None:
    setup = Setup(workspace / "perstack.toml", Overrides(), named=True)
    gateway = await open_local_gateway(CockpitRequest(workspace=workspace, runtime=setup))
    opened = Cockpit(gateway)

    async def consume() -> None:
        async with aclosing(gateway.updates()) as updates:
            async for update in updates:
                opened.take(update)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(consume)
            await opened.until(lambda: bool(opened.told))
            await gateway.start(ExpertKey("lead"), "go")
            await opened.until(lambda: bool(opened.pending))
            await gateway.aclose()
    assert not any(isinstance(update, Trouble) for update in opened.told)


async def test_a_database_that_is_no_database_is_told_and_one_that_works_is_shown(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perstack_tui.local.gateway.RETRY_S", 0.05)
    database = workspace / "perstack" / "perstack.db"
    database.parent.mkdir(exist_ok=True)
    database.write_bytes(b"this is no database " * 500)
    async with cockpit(workspace) as opened:
        await opened.until(lambda: any(isinstance(told, Trouble) for told in opened.told))
        database.unlink()
        tables = open_tables(workspace)
        await tables.stores.ask(lambda stores: stores.consensus.create(make_checkpoint("late")))
        await tables.aclose()
        await opened.until(lambda: bool(opened.pending))
        assert [one.id for one in opened.pending] == ["late"]

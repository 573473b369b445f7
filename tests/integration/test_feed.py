"""The feed: what any process does in a workspace, told once and in order, to whoever listens."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import httpx2
import pytest

from perstack.domain.agents import DriverProcess
from perstack.domain.events import Delta
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.errors import LimitError
from perstack.ports.history import FeedBatch
from perstack.ports.reviews import Lease
from perstack.ports.system import SystemClock
from perstack.services.task_creation import NewTask
from perstack.serving.feed import hub
from perstack.serving.feed.hub import Feed, open_feed
from perstack.serving.feed.listening import RESUMED
from perstack.serving.feed.news import DELTA, OVERFLOW, RESET, Wanted
from perstack.serving.feed.rows import Draft
from perstack.wiring import consensus_over
from tests.fakes.consensus import make_checkpoint, until
from tests.fakes.feed import Heard, hearing
from tests.fakes.feed_server import event_server
from tests.fakes.feed_workspace import SCENARIO, TOML, workspace
from tests.fakes.reviewing import make_loop, make_review, make_workflow_run

pytestmark = pytest.mark.anyio

ENDED = "run:completeRun"


def now_ms() -> int:
    return SystemClock().now_ms()


def seqs(heard: Heard) -> list[tuple[object, object]]:
    return [(one.data["runId"], one.data["seq"]) for one in heard.news if "seq" in one.data]


def jobs(heard: Heard) -> set[tuple[str, str]]:
    return {(str(one.data["jobId"]), one.type) for one in heard.news if "seq" in one.data}


def tell(feed: Feed, *names: str) -> None:
    feed.tell([Draft(name, now_ms(), {"n": n}) for n, name in enumerate(names)])


# ----------------------------------------------------------- what is told


async def test_what_another_process_runs_is_told_once_and_in_order(tmp_path: Path) -> None:
    async with (
        workspace(tmp_path) as here,
        open_feed(here.listening) as feed,
        hearing(feed) as heard,
    ):
        job_id = await here.run()
        await heard.until(ENDED, "task:completed", "agent:status")
    told = [one for one in heard.news if one.type.startswith("run:")]
    assert [one.data["seq"] for one in told] == list(range(len(told)))
    assert {str(one.data["jobId"]) for one in told} == {job_id}
    assert told[0].type == "run:initializeRuntime"
    assert [heard.types.count(f"task:{name}") for name in ("created", "completed")] == [1, 1]
    assert heard.types.index("task:created") < heard.types.index("task:completed")


async def test_what_was_there_before_is_not_news(tmp_path: Path) -> None:
    async with workspace(tmp_path) as here:
        async with open_feed(here.listening) as first, hearing(first) as before:
            await here.run()
            await before.until("task:completed", "agent:status")
        async with here.services() as services:
            old = await services.agents.spawn("coder", name="old")
            await services.projects.create("old", "/old")
            async with open_feed(here.listening) as feed, hearing(feed) as heard:
                await services.agents.stop(old.id)
                await heard.until("agent:stopped")
    assert heard.types == ["agent:stopped"]
    assert heard.news[0].data["previousStatus"] == "idle"


async def test_a_job_that_is_gone_on_with_tells_what_is_new_of_it_alone(tmp_path: Path) -> None:
    async with workspace(tmp_path) as here:
        first = await here.run()
        async with open_feed(here.listening) as feed, hearing(feed) as heard:
            second = await here.run()
            await heard.until(ENDED)
    assert {job for job, _ in jobs(heard)} == {second} != {first}


async def test_what_agents_tasks_and_sessions_of_another_process_do_is_told(tmp_path: Path) -> None:
    async with (
        workspace(tmp_path) as here,
        here.services() as services,
        open_feed(here.listening) as feed,
        hearing(feed) as heard,
    ):
        session = await services.sessions.start()
        agent = await services.agents.spawn("coder", name="ada")
        made = await services.tasks.create(NewTask("coder", "write it"))
        assert made.task is not None
        await heard.until("session:started", "agent:spawned", "task:created")
        await services.tasks.assign(made.task.id, agent.id)
        await heard.until("task:assigned")
        await services.tasks.complete(made.task.id, "no", status="failed")
        await services.sessions.end(session.id)
        await services.agents.update_status(agent.id, "completed")
        await heard.until("task:failed", "session:ended", "agent:status")
    assigned = heard.of("task:assigned")[0]
    assert (assigned.data["agentId"], assigned.data["previousStatus"]) == (agent.id, "pending")
    assert len(heard.types) == len(set(heard.types)), "each is told once"


async def test_what_happens_to_projects_and_specifications_is_told(tmp_path: Path) -> None:
    async with (
        workspace(tmp_path) as here,
        here.services() as services,
        open_feed(here.listening) as feed,
        hearing(feed) as heard,
    ):
        project = await services.projects.create("Home", "/srv/home")
        task = await services.project_tasks.create(project.id, "Doors")
        spec = await services.specifications.create(
            task.id, kind="api", title="Doors", content="Three.", created_by="ada"
        )
        await heard.until("project:created", "project:task:created", "spec:created")
        await services.project_tasks.move(task.id, "specification")
        await services.specifications.submit(spec.id)
        await services.projects.update(project.id, status="archived")
        await heard.until("project:task:phase", "spec:status", "project:updated")
    phase = heard.of("project:task:phase")[0].data
    assert (phase["previousPhase"], phase["phase"]) == ("draft", "specification")
    assert heard.of("spec:status")[0].data["status"] == "pending_review"


async def test_checkpoints_are_told_from_their_making_to_their_end(tmp_path: Path) -> None:
    async with workspace(tmp_path) as here:
        gate = consensus_over(here.doing.tables)
        async with open_feed(here.listening) as feed, hearing(feed) as heard:
            for name in ("k1", "k2"):
                await gate.propose(make_checkpoint(name, run=name, created_at=now_ms()))
            await gate.decide(make_checkpoint("k1").id, approved=True, allow_self=True)
            await gate.decide(make_checkpoint("k2").id, approved=False, allow_self=True)
            # Nobody else waits for this one: the feed itself sees to its expiry.
            due = make_checkpoint("k3", run="k3", created_at=now_ms(), expires_at=now_ms() + 300)
            await gate.propose(due)
            await heard.until(*(f"consensus:checkpoint:{how}" for how in ("rejected", "expired")))
    told = [(one.type.rsplit(":", 1)[1], one.data["id"]) for one in heard.news]
    assert sorted(told) == [
        ("approved", "k1"),
        *(("created", name) for name in ("k1", "k2", "k3")),
        ("expired", "k3"),
        ("rejected", "k2"),
    ]


async def test_workflows_and_review_loops_are_told_as_their_rows_tell(tmp_path: Path) -> None:
    lease = Lease("driver", now_ms(), now_ms() - 10_000)
    run, loop = make_workflow_run(), make_loop()
    review = make_review("APPROVE")
    async with workspace(tmp_path) as here, here.services():
        stores = here.doing.tables.stores
        async with open_feed(here.listening) as feed, hearing(feed) as heard:
            await stores.ask(lambda all_: all_.workflows.add(run))
            await stores.ask(lambda all_: all_.workflows.claim(run.id, lease))
            await stores.ask(lambda all_: all_.reviews.add(loop))
            await stores.ask(lambda all_: all_.reviews.claim(loop.id, lease))
            await heard.until("workflow:start", "review-loop:start")
            done = loop.model_copy(update={"status": "approved", "iteration": 1})
            await stores.ask(
                lambda all_: all_.reviews.advance(done, lease, expected="pending", review=review)
            )
            await stores.ask(
                lambda all_: all_.workflows.finish(run.id, lease, report=None, error="no")
            )
            await heard.until("workflow:error", "review-loop:complete")
    loops = [one for one in heard.types if one.startswith("review-loop:")]
    assert loops == [
        f"review-loop:{name}" for name in ["start", "iteration", "review", "approved", "complete"]
    ]
    assert heard.of("workflow:error")[0].data["error"] == "no"


async def test_messages_of_this_process_are_told(tmp_path: Path) -> None:
    async with (
        workspace(tmp_path) as here,
        open_feed(here.doing) as feed,
        hearing(feed) as heard,
        here.services() as services,
    ):
        await services.bus.send("ada", "bob", "hello", {"n": 1})
        await heard.until("message:received")
    assert heard.news[0].data["from"] == "ada"
    assert heard.news[0].data["payload"] == {"n": 1}


async def test_streaming_text_is_told_to_who_names_it_alone(tmp_path: Path) -> None:
    said = Delta(
        job_id=JobId("j1"),
        run_id=RunId("r1"),
        expert_key=ExpertKey("writer"),
        step_number=1,
        stream="text",
        kind="delta",
        text="Hel",
    )
    batch = FeedBatch(deltas=(said,))
    async with (
        workspace(tmp_path) as here,
        open_feed(here.listening) as feed,
        hearing(feed) as others,
    ):
        feed.tell_batch(batch, since_ms=0)
        assert feed.position.number == 0, "nobody wants it: nothing is made of it"
        async with hearing(feed, Wanted.of("*,run:delta")) as named:
            tell(feed, "before")
            feed.tell_batch(batch, since_ms=0)
            tell(feed, "after")
            await named.until("after")
            await others.until("after")
    assert named.types == ["before", DELTA, "after"]
    assert others.types == ["before", "after"]
    assert named.news[1].id is None, "nobody can come back to it"
    assert named.news[1].data["text"] == "Hel"


async def test_a_client_hears_of_one_job_and_of_the_types_that_it_names(tmp_path: Path) -> None:
    async with workspace(tmp_path) as here, open_feed(here.listening) as feed:
        async with hearing(feed, Wanted.of("task:*")) as tasks, hearing(feed) as heard:
            await here.run()
            job_id = await here.run()
            await heard.until("task:completed")
            await until(lambda: tasks.types.count("task:completed") == 2)
        async with hearing(feed, Wanted.of(None, job_id), after=heard.news[0].id) as of_job:
            await of_job.until(ENDED)
    assert {one.split(":")[0] for one in tasks.types} == {"task"}
    assert {job for job, _ in jobs(of_job)} == {job_id}


async def test_tables_that_are_made_later_are_followed_from_their_first_row(tmp_path: Path) -> None:
    async with (
        workspace(tmp_path) as here,
        open_feed(here.listening) as feed,
        hearing(feed) as heard,
    ):
        assert not await anyio.Path(tmp_path / "perstack" / "perstack.db").exists()
        async with here.services() as services:
            await services.agents.spawn("coder", name="first")
            await heard.until("agent:spawned")


async def test_what_a_killed_process_was_driving_is_told_as_lost(tmp_path: Path) -> None:
    async with workspace(tmp_path) as here, here.services() as services:
        agent = await services.agents.spawn("coder", name="ada")
        stores = here.doing.tables.stores
        dead = DriverProcess(id="gone", pid=2**22 + 1, host="nowhere", started_at=1, beat_at=1)
        row = await stores.ask(lambda all_: all_.agents.get(agent.id))
        driven = row.model_copy(update={"status": "running", "process_id": "gone"})
        await stores.ask(lambda all_: all_.agents.beat(dead))
        await stores.ask(lambda all_: all_.agents.record([driven]))
        async with open_feed(here.listening) as feed, hearing(feed) as heard:
            at = now_ms()
            await stores.ask(lambda all_: all_.agents.mark_lost([dead], now_ms=at))
            await heard.until("agent:status")
    assert (heard.news[0].data["status"], heard.news[0].data["lost"]) == ("failed", True)


# ----------------------------------------------------------- coming back


async def test_a_client_comes_back_to_exactly_what_came_after(tmp_path: Path) -> None:
    async with (
        workspace(tmp_path) as here,
        open_feed(here.listening) as feed,
        hearing(feed) as heard,
    ):
        await here.run()
        await heard.until(ENDED, "task:completed", "agent:status")
        for place, one in enumerate(list(heard.news)):
            async with hearing(feed, after=one.id) as again:
                tell(feed, "mark")
                await again.until("mark")
                follows = [two.id for two in heard.news[place + 1 :]]
                assert [two.id for two in again.news][: len(follows)] == follows


async def test_a_client_whose_place_is_gone_is_told_the_records_since_then_and_goes_on(
    tmp_path: Path,
) -> None:
    async with (
        workspace(tmp_path) as here,
        open_feed(here.listening, kept=15) as feed,
        hearing(feed, Wanted.of("run:*")) as heard,
    ):
        for _ in range(4):
            last = await here.run()
            await until(lambda last=last: (last, ENDED) in jobs(heard))
        first = heard.news[0].id
        assert first is not None
        async with hearing(feed, Wanted.of("run:*,mark"), after=first) as again:
            await again.until(RESUMED)
            tell(feed, "mark")
            await again.until("mark")
    assert set(seqs(heard)) <= set(seqs(again))
    assert len(seqs(again)) == len(set(seqs(again))), "each record once"
    assert again.types[-2:] == [RESUMED, "mark"]


async def test_a_client_of_a_server_before_this_one_misses_no_record(tmp_path: Path) -> None:
    async with workspace(tmp_path) as here:
        async with open_feed(here.listening) as feed, hearing(feed, Wanted.of("run:*")) as heard:
            await here.run()
            await heard.until(ENDED)
        job_id = await here.run()
        async with (
            open_feed(here.listening) as feed,
            hearing(feed, after=heard.news[-1].id) as again,
        ):
            await again.until(RESUMED)
            now = await here.run()
            await until(lambda: (now, ENDED) in jobs(again))
    assert {(job_id, ENDED), (now, ENDED)} <= jobs(again)
    assert len(seqs(again)) == len(set(seqs(again))), "each record once"


@pytest.mark.parametrize("place", ["nonsense", "1-abc-1", "9999999999999-abc-1", "-", "é"])
async def test_a_place_that_says_nothing_begins_with_a_reset(tmp_path: Path, place: str) -> None:
    async with (
        workspace(tmp_path) as here,
        open_feed(here.listening) as feed,
        hearing(feed, Wanted.of("mark"), after=place) as heard,
    ):
        tell(feed, "mark")
        await heard.until("mark")
    assert heard.types == [RESET, "mark"]


async def test_more_records_than_are_told_again_are_a_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perstack.serving.feed.past.MOST_RECORDS", 3)
    async with workspace(tmp_path) as here, open_feed(here.listening) as feed:
        before = f"{now_ms()}-abc-1"
        await here.run()
        async with hearing(feed, after=before) as heard:
            await heard.until(RESET)
    assert heard.types[0] == RESET


# ----------------------------------------------------------- many clients


async def test_a_client_that_does_not_read_holds_nobody_up_and_loses_its_place(
    tmp_path: Path,
) -> None:
    async with (
        workspace(tmp_path) as here,
        open_feed(here.listening, kept=10) as feed,
        feed.listen(Wanted()) as slow,
        hearing(feed) as quick,
    ):
        for _ in range(8):
            tell(feed, "a", "b", "c", "d", "e")
            await until(lambda: len(quick.news) % 5 == 0 and not _behind(feed, quick))
        told = [some async for some in slow.news(silence_s=60)]
    assert len(quick.news) == 40
    assert [one.type for some in told for one in some] == [OVERFLOW]


def _behind(feed: Feed, heard: Heard) -> bool:
    return not heard.news or heard.news[-1].number < feed.position.number


async def test_twenty_clients_are_all_told_everything(tmp_path: Path) -> None:
    async with workspace(tmp_path) as here, open_feed(here.listening) as feed:
        heard: list[Heard] = []

        async def client(number: int) -> None:
            async with hearing(feed) as mine:
                heard.append(mine)
                await mine.until("task:completed", "agent:status", ENDED)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(client, number)
            await until(lambda: feed.clients == 20)
            await here.run()
    assert {tuple(seqs(one)) for one in heard} == {tuple(seqs(heard[0]))}
    assert feed.clients == 0


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_two_hundred_clients_of_a_real_server_are_all_told_everything(
    tmp_path: Path,
) -> None:
    (tmp_path / "perstack.toml").write_text(TOML)
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    async with event_server(tmp_path) as server, httpx2.AsyncClient(timeout=120) as client:
        told: list[list[str]] = []
        began: list[None] = []

        async def follow() -> None:
            mine: list[str] = []
            limits = httpx2.Limits(max_connections=1)
            async with (
                httpx2.AsyncClient(timeout=120, limits=limits) as own,
                own.stream("GET", f"{server.url}/events?types=run:*") as answer,
            ):
                async for line in answer.aiter_lines():
                    if line.startswith("retry:"):
                        began.append(None)
                    if line.startswith("data:"):
                        event = json.loads(line[5:])
                        mine.append(event["id"])
                        if event["type"] == ENDED:
                            break
            told.append(mine)

        async with anyio.create_task_group() as group:
            for _ in range(200):
                group.start_soon(follow)
            await until(lambda: len(began) == 200, within_s=60)
            job = await server.jobs.start(ExpertKey("writer"), "Say hello.")
            await job.wait()
        assert len(told) == 200
        assert {tuple(mine) for mine in told} == {tuple(told[0])}
        assert (await client.get(f"{server.url}/api/v1/agents")).status_code == 200


async def test_where_nobody_listens_nothing_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[None] = []
    async with workspace(tmp_path) as here, open_feed(here.listening, linger_s=0) as feed:
        history = here.listening.history
        follow = history.follow

        def followed(*, backlog_jobs: int) -> AsyncGenerator[FeedBatch, None]:
            looks.append(None)
            return follow(backlog_jobs=backlog_jobs)

        monkeypatch.setattr(history, "follow", followed)
        assert not feed.following
        async with hearing(feed) as first:
            tell(feed, "mark")
            await first.until("mark")
            assert feed.following
        await until(lambda: not feed.following)
        assert len(looks) == 1
        async with hearing(feed, after=first.news[0].id) as again:
            await again.until(RESUMED)
        assert len(looks) == 2


async def test_the_end_of_the_server_ends_who_listens(tmp_path: Path) -> None:
    async with (
        workspace(tmp_path) as here,
        open_feed(here.listening) as feed,
        hearing(feed) as heard,
    ):
        feed.close()
        await until(lambda: heard.over)


async def test_there_is_a_most_of_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "MOST_CLIENTS", 1)
    async with workspace(tmp_path) as here, open_feed(here.listening) as feed, hearing(feed):
        with pytest.raises(LimitError, match="follow what happens already"):
            feed.check_room()

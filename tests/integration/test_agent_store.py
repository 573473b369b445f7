"""The contract of `AgentStore`, over every database that is at hand."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from perstack.domain.agents import Agent, Order, OrderKind
from perstack.domain.ids import AgentId, IdentityId, JobId, RunId, SessionId, TaskId
from perstack.domain.tasks import Task
from perstack.errors import ConflictError, LimitError, NotFoundError, PerstackError
from perstack.ports.agents import AgentFilter, AgentMove, AgentStore
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.ports.tasks import TaskFilter
from perstack.storage.database.opener import open_stores
from tests.fakes.agents import make_agent, make_identity, make_process, make_run
from tests.fakes.consensus import NOW_MS, SetClock
from tests.fakes.tasks import make_task

pytestmark = pytest.mark.anyio

A1 = AgentId("a1")
ANY = AgentFilter()
WILD = ["\ud800 lone", "nul \0", "\x1b]52;c;x\x07", "\u202eabc", "x" * 10_000]


@pytest.fixture
async def stores(database_target: Path | str) -> AsyncGenerator[Stores]:
    opened = await open_stores(database_target, clock=SetClock(), ids=Uuids())
    yield opened
    await opened.aclose()


@pytest.fixture
def agents(stores: Stores) -> AgentStore:
    return stores.agents


def make_order(kind: OrderKind = "stop", agent_id: str = "a1", text: str | None = None) -> Order:
    return Order(agent_id=AgentId(agent_id), kind=kind, text=text, by="ana@host", created_at=NOW_MS)


def make_run_task(run: str, job: str | None) -> Task:
    task = make_task(run).model_copy(update={"status": "running", "run_id": RunId(run)})
    return task.model_copy(update={"job_id": None if job is None else JobId(job)})


async def test_what_was_added_is_read_back_the_same(agents: AgentStore) -> None:
    agent = make_agent().model_copy(
        update={
            "session_id": SessionId("s1"),
            "job_id": JobId("j1"),
            "cost_usd": 0.1 + 0.2,
            "cost_partial": True,
            "lost": True,
            "input_tokens": 2**40,
            "paused_at": NOW_MS,
            "pause_reason": "enough",
            "metadata": {"a": [1, None, {"b": "\ud800\0"}]},
        }
    )
    await agents.add(agent)
    assert await agents.get(A1) == agent


async def test_any_text_can_be_written(agents: AgentStore) -> None:
    for number, text in enumerate(WILD):
        wild = make_run(f"r{number}").model_copy(
            update={"name": text, "current_task": text, "type": text}
        )
        await agents.record([wild])
        assert len((await agents.get(wild.id)).name) >= len(text)
        found = await agents.find_by_name(text)
        assert found is not None
        assert found.id == wild.id


async def test_a_malformed_id_is_not_found(agents: AgentStore) -> None:
    await agents.add(make_agent())
    for name in ("' OR 1=1 --", "\ud800", "a\0b", "%", "x" * 5_000):
        with pytest.raises(NotFoundError):
            await agents.get(AgentId(name))
        assert await agents.find_by_name(name) is None


async def test_a_name_is_free_again_once_its_agent_is_stopped(agents: AgentStore) -> None:
    await agents.add(make_agent("a1", name="bob"))
    with pytest.raises(ConflictError, match="Agent with name 'bob' already exists"):
        await agents.add(make_agent("a2", name="bob"))
    await agents.move(A1, AgentMove("stopped", NOW_MS), expected=("idle",))
    assert await agents.find_by_name("bob") is None
    await agents.add(make_agent("a2", name="bob"))
    found = await agents.find_by_name("bob")
    assert found is not None
    assert found.id == "a2"


async def test_runs_may_share_a_name_and_a_spawned_agent_goes_before_them(
    agents: AgentStore,
) -> None:
    await agents.record([make_run("r1"), make_run("r2")])
    newest = await agents.find_by_name("coder")
    assert newest is not None
    assert newest.id == "r2"
    await agents.add(make_agent("a1", name="coder"))
    spawned = await agents.find_by_name("coder")
    assert spawned is not None
    assert spawned.id == "a1"


async def test_the_limit_counts_spawned_agents_that_are_not_stopped(agents: AgentStore) -> None:
    await agents.record([make_run(f"r{number}") for number in range(5)])
    await agents.add(make_agent("a1"), max_spawned=2)
    await agents.add(make_agent("a2"), max_spawned=2)
    with pytest.raises(LimitError, match=r"Maximum number of concurrent agents reached \(2\)\."):
        await agents.add(make_agent("a3"), max_spawned=2)
    await agents.move(A1, AgentMove("stopped", NOW_MS), expected=("idle",))
    await agents.add(make_agent("a3"), max_spawned=2)


async def test_twenty_spawns_at_once_over_two_handles_keep_to_the_limit_and_to_one_name(
    database_target: Path | str,
) -> None:
    outcomes: list[str] = []

    async def spawn(store: AgentStore, number: int) -> None:
        try:
            await store.add(make_agent(f"a{number}", name=f"n{number % 10}"), max_spawned=6)
            outcomes.append("added")
        except PerstackError as error:
            outcomes.append(error.code)

    handles = [await open_stores(database_target, clock=SetClock(), ids=Uuids()) for _ in "ab"]
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(spawn, handles[number % 2].agents, number)
    there = await handles[0].agents.list(ANY)
    for handle in handles:
        await handle.aclose()
    assert outcomes.count("added") == len(there) == 6
    assert len({agent.name for agent in there}) == 6
    assert set(outcomes) <= {"added", "conflict", "limit"}


async def test_a_batch_is_written_whether_its_agents_are_new_or_not(agents: AgentStore) -> None:
    await agents.record([make_run("r1"), make_run("r2")])
    moved = make_run("r1").model_copy(update={"step_number": 7, "status": "completed"})
    await agents.record([moved, make_run("r3")])
    assert [one.id for one in await agents.list(ANY)] == ["r1", "r2", "r3"]
    assert await agents.get(AgentId("r1")) == moved
    assert await agents.count_by_status(ANY) == {"running": 2, "completed": 1}


async def test_the_status_of_a_spawned_agent_follows_from_whether_it_is_driven(
    agents: AgentStore,
) -> None:
    await agents.add(make_agent(status="failed").model_copy(update={"last_error": "no key"}))
    undriven = make_agent(status="running").model_copy(update={"output_tokens": 9})
    driven = undriven.model_copy(update={"process_id": "p1"})

    async def after(record: Agent) -> tuple[str, str | None, int]:
        await agents.record([record, make_run("r1")])
        found = await agents.get(A1)
        return found.status, found.last_error, found.output_tokens

    assert await after(undriven) == ("failed", "no key", 9)
    assert await after(driven) == ("running", "no key", 9)
    assert await after(undriven) == ("idle", "no key", 9)
    assert (await after(undriven.model_copy(update={"last_error": "no"})))[1] == "no"
    await agents.move(A1, AgentMove("stopped", NOW_MS), expected=("idle",))
    assert (await after(driven))[0] == "stopped"


async def test_the_status_of_a_run_is_what_its_driver_says(agents: AgentStore) -> None:
    await agents.record([make_run("r1").model_copy(update={"status": "stopped"})])
    await agents.record([make_run("r1")])
    assert (await agents.get(AgentId("r1"))).status == "running"


async def test_a_spawned_agent_that_was_lost_too_early_is_found_again(agents: AgentStore) -> None:
    await agents.add(make_agent(status="running").model_copy(update={"process_id": "p1"}))
    await agents.beat(make_process("p1"))
    await agents.mark_lost([make_process("p1")], now_ms=NOW_MS + 20_000)
    await agents.record([make_agent(status="running").model_copy(update={"process_id": "p1"})])
    after = await agents.get(A1)
    assert (after.status, after.lost, after.last_error) == ("running", False, None)


async def test_filters_combine_and_stopped_spawned_agents_are_gone_unless_asked_for(
    agents: AgentStore,
) -> None:
    session = {"session_id": SessionId("s1")}
    await agents.add(make_agent("a1").model_copy(update=session))
    await agents.add(make_agent("a2", agent_type="tester").model_copy(update=session))
    await agents.add(make_agent("a3"))
    await agents.record([make_run("r1").model_copy(update={**session, "status": "stopped"})])
    await agents.move(AgentId("a3"), AgentMove("stopped", NOW_MS), expected=("idle",))

    async def ids(**wanted: object) -> list[str]:
        return [one.id for one in await agents.list(AgentFilter(**wanted))]  # type: ignore[arg-type]

    assert await ids() == ["a1", "a2", "r1"]
    assert await ids(session_id="s1", type="coder") == ["a1", "r1"]
    assert await ids(session_id="s1", origin="spawned") == ["a1", "a2"]
    assert await ids(statuses=["stopped"]) == ["a3", "r1"]
    assert await ids(session_id="s2") == []
    assert [one.id for one in await agents.list(ANY, limit=1, offset=1)] == ["a2"]
    assert await agents.count_by_status(AgentFilter(type="coder")) == {"idle": 1, "stopped": 1}


async def test_runs_that_ended_long_ago_can_be_left_out(agents: AgentStore) -> None:
    ended = make_run("r1").model_copy(update={"status": "completed"})
    late = ended.model_copy(update={"id": AgentId("r2"), "updated_at": NOW_MS + 10})
    await agents.record([ended, late, make_run("r3")])
    await agents.add(make_agent("a1", status="failed"))
    found = await agents.list(AgentFilter(ended_before=NOW_MS + 5))
    assert sorted(one.id for one in found) == ["a1", "r2", "r3"]


async def test_a_paused_run_is_still_there(agents: AgentStore) -> None:
    paused = make_run("r1", process_id="p1").model_copy(
        update={"status": "stopped", "paused_at": NOW_MS}
    )
    await agents.record([paused])
    assert await agents.list(AgentFilter(ended_before=NOW_MS + 5)) == [paused]
    assert await agents.find_by_name("coder") == paused
    await agents.record([paused.model_copy(update={"process_id": None})])
    assert await agents.list(AgentFilter(ended_before=NOW_MS + 5)) == []
    assert await agents.find_by_name("coder") is None


async def test_an_update_needs_the_expected_status(agents: AgentStore) -> None:
    await agents.add(make_agent())
    changed = make_agent(status="failed").model_copy(update={"last_error": "no \0"})
    assert not await agents.update(changed, expected=("running",))
    assert (await agents.get(A1)).status == "idle"
    assert await agents.update(changed, expected=("idle", "running"))
    assert (await agents.get(A1)).last_error == "no \ufffd"


async def test_a_move_leaves_alone_what_the_driver_wrote(agents: AgentStore) -> None:
    await agents.add(make_agent().model_copy(update={"job_id": JobId("j1"), "step_number": 4}))
    claim = AgentMove("running", NOW_MS + 1, current_task="build", process_id="p1")
    assert await agents.move(A1, claim, expected=("idle",))
    assert not await agents.move(A1, claim, expected=("idle",))
    after = await agents.get(A1)
    assert (after.status, after.job_id, after.step_number) == ("running", "j1", 4)
    assert (after.current_task, after.process_id, after.updated_at) == ("build", "p1", NOW_MS + 1)


async def test_of_eight_claims_over_two_handles_one_succeeds(
    database_target: Path | str,
) -> None:
    handles = [await open_stores(database_target, clock=SetClock(), ids=Uuids()) for _ in "ab"]
    await handles[0].agents.add(make_agent())
    won: list[str] = []

    async def claim(store: AgentStore, number: int) -> None:
        move = AgentMove("running", NOW_MS, process_id=f"p{number}")
        if await store.move(A1, move, expected=("idle", "failed", "completed")):
            won.append(f"p{number}")

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(claim, handles[number % 2].agents, number)
    assert won == [(await handles[1].agents.get(A1)).process_id]
    for handle in handles:
        await handle.aclose()


async def test_orders_reach_the_process_that_drives_the_agent_once_and_in_order(
    agents: AgentStore,
) -> None:
    await agents.record([make_run("r1", process_id="p1"), make_run("r2", process_id="p2")])
    kinds: tuple[OrderKind, ...] = ("pause", "resume", "steer")
    numbers = [await agents.order(make_order(kind, "r1", "\ud800")) for kind in kinds]
    await agents.order(make_order("stop", "r2"))
    taken = await agents.take_orders("p1")
    assert [order.kind for order in taken] == ["pause", "resume", "steer"]
    assert [order.id for order in taken] == numbers
    assert taken[0].by == "ana@host"
    assert await agents.take_orders("p1") == ()
    assert [order.kind for order in await agents.take_orders("p2")] == ["stop"]


async def test_orders_for_agents_whose_runs_are_not_here_yet_wait(agents: AgentStore) -> None:
    await agents.record([make_run("r1", process_id="p1"), make_run("r2", process_id="p1")])
    await agents.order(make_order("stop", "r1"))
    await agents.order(make_order("pause", "r2"))
    assert await agents.take_orders("p1", []) == ()
    (taken,) = await agents.take_orders("p1", [AgentId("r2")])
    assert taken.kind == "pause"
    assert [one.kind for one in await agents.take_orders("p1", [AgentId("r1")])] == ["stop"]


async def test_what_was_ordered_of_an_agent_is_dropped_when_it_is_let_go(
    agents: AgentStore,
) -> None:
    await agents.add(make_agent())
    assert await agents.move(A1, AgentMove("running", 1, process_id="p1"), expected=("idle",))
    await agents.order(make_order())
    assert await agents.move(A1, AgentMove("idle", 2), expected=("running",))
    assert await agents.move(A1, AgentMove("running", 3, process_id="p1"), expected=("idle",))
    assert await agents.take_orders("p1") == ()


async def test_a_run_that_goes_on_keeps_what_it_was_asked(agents: AgentStore) -> None:
    run = make_run("r1", process_id="p1").model_copy(update={"current_task": "write it"})
    await agents.record([run])
    await agents.record([run.model_copy(update={"current_task": None, "step_number": 7})])
    found = await agents.get(AgentId("r1"))
    assert (found.current_task, found.step_number) == ("write it", 7)


async def test_an_agent_whose_process_ends_before_it_said_so_is_idle_again(
    agents: AgentStore,
) -> None:
    await agents.add(make_agent())
    await agents.beat(make_process("p1"))
    move = AgentMove("running", NOW_MS, current_task="x", process_id="p1")
    assert await agents.move(A1, move, expected=["idle"])
    await agents.end("p1")
    found = await agents.get(A1)
    assert (found.status, found.process_id, found.current_task) == ("idle", None, None)


async def test_a_count_that_no_database_holds_is_cut_and_holds_up_no_other(
    agents: AgentStore,
) -> None:
    forged = make_run("r1", process_id="p1").model_copy(update={"input_tokens": 2**70})
    await agents.record([forged, make_run("r2", process_id="p1")])
    assert (await agents.get(AgentId("r1"))).input_tokens == 2**63 - 1
    assert (await agents.get(AgentId("r2"))).process_id == "p1"


async def test_a_beat_says_whether_the_process_was_known(agents: AgentStore) -> None:
    process = make_process("p1")
    assert not await agents.beat(process)
    assert await agents.beat(process)
    await agents.mark_lost([process], now_ms=NOW_MS)
    assert not await agents.beat(process)


async def test_nobody_can_be_ordered_who_is_not_at_work(agents: AgentStore) -> None:
    await agents.add(make_agent())
    with pytest.raises(ConflictError, match="coder-a1 is not at work now"):
        await agents.order(make_order())
    with pytest.raises(NotFoundError):
        await agents.order(make_order(agent_id="nope"))


async def test_orders_that_came_too_late_are_not_kept_for_the_next_time(
    agents: AgentStore,
) -> None:
    await agents.record([make_run("r1", process_id="p1"), make_run("r2", process_id="p1")])
    await agents.order(make_order("stop", "r1"))
    await agents.order(make_order("stop", "r2"))
    await agents.record([make_run("r1")])
    await agents.end("p1")
    await agents.record([make_run("r1", process_id="p1"), make_run("r2", process_id="p1")])
    assert await agents.take_orders("p1") == ()


async def test_processes_are_known_by_their_beat_until_they_end(agents: AgentStore) -> None:
    await agents.beat(make_process("p1"))
    await agents.beat(make_process("p2"))
    await agents.beat(make_process("p1", beat_at=NOW_MS + 3))
    assert [(one.id, one.beat_at) for one in await agents.processes()] == [
        ("p1", NOW_MS + 3),
        ("p2", NOW_MS),
    ]
    await agents.record([make_run("r1", process_id="p1")])
    await agents.end("p1")
    assert [one.id for one in await agents.processes()] == ["p2"]
    assert (await agents.get(AgentId("r1"))).process_id is None


async def test_what_a_dead_process_drove_is_lost_and_nothing_else(agents: AgentStore) -> None:
    done = make_run("r2", process_id="p1").model_copy(update={"status": "completed"})
    await agents.record([make_run("r1", process_id="p1"), done, make_run("r3", process_id="p2")])
    for name in ("p1", "p2"):
        await agents.beat(make_process(name))
    await agents.order(make_order("stop", "r1"))
    lost = await agents.mark_lost([make_process("p1")], now_ms=NOW_MS + 20_000)
    assert [one.id for one in lost] == ["r1"]
    assert (lost[0].status, lost[0].lost, lost[0].process_id) == ("failed", True, None)
    assert lost[0].last_error == "The process that ran it died."
    assert (await agents.get(AgentId("r2"))).status == "completed"
    assert (await agents.get(AgentId("r3"))).status == "running"
    assert [one.id for one in await agents.processes()] == ["p2"]
    assert await agents.mark_lost([make_process("p1")], now_ms=NOW_MS + 20_000) == ()


async def test_the_tasks_of_what_is_lost_have_failed_and_no_others(stores: Stores) -> None:
    agents, tasks = stores.agents, stores.tasks
    done = make_run("r2", process_id="p1").model_copy(update={"status": "completed"})
    await agents.record([make_run("r1", process_id="p1"), done, make_run("r3", process_id="p2")])
    # The root run of a spawned agent's job has no agent of its own.
    await agents.add(
        make_agent("s1").model_copy(
            update={"status": "running", "process_id": "p1", "job_id": JobId("j1")}
        )
    )
    await agents.record([make_run("r5", process_id="p2")])
    for name in ("p1", "p2"):
        await agents.beat(make_process(name))
    for run, job in (("r1", "j0"), ("r2", "j0"), ("r3", "j0"), ("r4", "j1"), ("r5", "j1")):
        await tasks.record(make_run_task(run, job))
    await tasks.finish(TaskId("r2"), "completed", "done", now_ms=NOW_MS)
    await tasks.record(make_run_task("by-hand", None))
    await agents.mark_lost([make_process("p1")], now_ms=NOW_MS + 20_000)
    found = {task.id: (task.status, task.output) for task in await tasks.list(TaskFilter())}
    died = ("failed", "the process that worked at it died")
    running = ("running", None)
    assert found == {
        "r1": died,
        "r2": ("completed", "done"),
        "r3": running,
        "r4": died,
        "r5": running,
        "by-hand": running,
    }
    assert (await tasks.get(TaskId("r1"))).completed_at == NOW_MS + 20_000


async def test_a_process_that_has_beaten_since_is_not_dead(agents: AgentStore) -> None:
    await agents.record([make_run("r1", process_id="p1")])
    await agents.beat(make_process("p1", beat_at=NOW_MS + 1))
    assert await agents.mark_lost([make_process("p1")], now_ms=NOW_MS + 20_000) == ()
    assert (await agents.get(AgentId("r1"))).status == "running"


async def test_an_agent_carries_only_an_active_identity(stores: Stores) -> None:
    await stores.identities.create(make_identity("i1"))
    carrier = make_agent().model_copy(update={"identity_id": IdentityId("i1")})
    with pytest.raises(ConflictError, match="must be active to spawn, current status: created"):
        await stores.agents.add(carrier)
    with pytest.raises(NotFoundError, match="Identity not found: i9"):
        await stores.agents.add(carrier.model_copy(update={"identity_id": IdentityId("i9")}))
    assert await stores.agents.list(ANY) == []


async def test_a_new_identity_is_written_with_its_agent_or_not_at_all(stores: Stores) -> None:
    def carrier(agent_id: str, name: str) -> Agent:
        return make_agent(agent_id, name=name).model_copy(update={"identity_id": f"i{agent_id}"})

    first = make_identity("ia1", status="active", display_name="bob")
    await stores.agents.add(carrier("a1", "bob"), identity=first)
    second = first.model_copy(update={"agent_id": IdentityId("ia2")})
    with pytest.raises(ConflictError):
        await stores.agents.add(carrier("a2", "bob"), identity=second)
    assert await stores.identities.find(IdentityId("ia2")) is None
    await stores.agents.add(carrier("a2", "eve"), identity=second)
    found = await stores.identities.find(IdentityId("ia2"))
    assert found is not None
    assert found.display_name == "bob-ia2"
    actions = [one.action for one in await stores.identities.audit(IdentityId("ia2"))]
    assert actions == ["spawned", "activated", "created"]

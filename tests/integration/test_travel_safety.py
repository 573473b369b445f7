"""What looking back must never do: decide for a person, lose work, or store what is left out."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from perstack.domain.consensus import Decision
from perstack.domain.ids import ConsensusId, ExpertKey, JobId, StandingId
from perstack.domain.orders import Raise
from perstack.domain.settings import ConsensusSettings, SnapshotSettings
from perstack.domain.standing import StandingApproval
from perstack.domain.travel import ForkWish, Moment
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.system import RandomIds, SystemClock
from perstack.project import open_project
from perstack.projection.event_facts import made_checkpoint
from perstack.runtime import open_history, open_snapshots
from perstack.services.forking import Forker
from perstack.services.job_gates import JobGates
from perstack.services.pruning import Pruner
from perstack.services.restoring import Restorer
from perstack.services.travel import TravelService
from perstack.wiring import consensus_over, open_tables
from tests.fakes.engine import FakeGate, World, decided, done, expert, says

pytestmark = pytest.mark.anyio

TEAM = (expert("lead", "ship"), expert("ship"))


def ask_to_ship(request: ModelRequest, turn: int) -> Generation:
    if request.expert_key != "lead":
        return done("shipped")
    return says("", ("ship", {"query": "deploy it"})) if turn == 1 else done("end")


def past_of(world: World, folder: Path) -> TravelService:
    return TravelService(world.history, open_snapshots(folder), folder)


async def nothing_more() -> SnapshotSettings | None:
    return None


async def test_a_fork_asks_anew_what_was_approved_for_the_original_after_a_stop(
    tmp_path: Path,
) -> None:
    gate = FakeGate()
    consensus = ConsensusSettings(enabled=True)
    world = World(tmp_path, ask_to_ship, TEAM, gate=gate, consensus=consensus, wait_at_gates=False)
    waiting = await world.start()
    ((id_, asked),) = gate.proposed.items()
    gate.proposed[id_] = decided(asked, approved=True)
    assert (await world.go_on(Continuation(job_id=waiting.job_id))).outcome.text == "end"
    at = next(
        Moment(event.job_id, event.run_id, point)
        for event in world.heard.events
        if event.body.type == "stopRunByDelegate" and (point := made_checkpoint(event))
    )
    forker = Forker(past_of(world, tmp_path), clock=SystemClock(), ids=RandomIds())
    job = await forker.fork(at, ForkWish(copy_files=False), {})
    ran = len(world.model.requests)
    again = await world.go_on(Continuation(job_id=job.id, own_definitions=True))
    assert again.outcome.ending == "awaiting"
    assert again.outcome.consensus_id not in (None, id_)
    assert gate.proposed[again.outcome.consensus_id or id_].job_id == job.id
    assert len(world.model.requests) == ran


async def test_a_fork_has_the_limits_that_its_original_was_raised_to(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, __: done("ok"), (expert("lead"),))
    begun = await world.start()
    await world.go_on(Continuation(job_id=begun.job_id, text="more", more=Raise(max_steps=7)))
    raised = (await world.history.get_job(begun.job_id)).raised
    assert raised is not None
    point = next(made for event in world.heard.events if (made := made_checkpoint(event)))
    forker = Forker(past_of(world, tmp_path), clock=SystemClock(), ids=RandomIds())
    at = Moment(begun.job_id, begun.run_id, point)
    job = await forker.fork(at, ForkWish(copy_files=False), {})
    assert (await world.history.get_job(job.id)).raised == raised


async def test_undoing_leads_into_the_folder_that_was_restored_and_stores_nothing_left_out(
    tmp_path: Path,
) -> None:
    main, fork = tmp_path / "main", tmp_path / "fork"
    for folder in (main, fork):
        folder.mkdir()
        (folder / "a").write_text(f"{folder.name} 1")
    (fork / "key.pem").write_text("canary-canary")
    store = open_snapshots(main)
    no_keys = SnapshotSettings(exclude=("*.pem",))
    await to_thread.run_sync(store.keep_now, fork, no_keys, "before")
    (fork / "a").write_text("fork 2")
    await to_thread.run_sync(store.keep_now, fork, no_keys, "after")
    past = TravelService(open_history(main), store, main)
    restorer = Restorer(past, ids=RandomIds(), today=nothing_more)
    assert (await restorer.plan_again("before")).written == ("a",)
    assert (fork / "a").read_text() == "fork 2"
    assert (await restorer.again("before")).plan.written == ("a",)
    assert ((fork / "a").read_text(), (main / "a").read_text()) == ("fork 1", "main 1")
    stored = store.newest(fork, [])
    assert stored["key.pem"].why == "excluded"
    (fork / "token").write_text("canary-canary")

    async def today() -> SnapshotSettings | None:
        return SnapshotSettings(exclude=("token",))

    done_ = await Restorer(past, ids=RandomIds(), today=today).again("after")
    assert store.kept(done_.before).files["token"].why == "excluded"


async def test_what_waits_for_a_removed_job_is_withdrawn_and_pruning_keeps_it(
    tmp_path: Path,
) -> None:
    tables = open_tables(tmp_path)
    service = consensus_over(tables)
    try:
        gates = JobGates(service, tables.stores, clock=SystemClock())
        world = World(tmp_path, ask_to_ship, TEAM, consensus=ConsensusSettings(enabled=True))
        world.wait_at_gates = False
        waiting = (await world.start()).job_id
        (checkpoint,) = world.gate.proposed.values()
        await service.propose(checkpoint)
        other = checkpoint.model_copy(update={"id": ConsensusId("other")})
        await service.propose(other)
        given = StandingApproval(
            expert_key=ExpertKey("lead"),
            skill_name="s",
            skill_digest="d",
            tool_name="t",
            arguments="{}",
            id=StandingId("given"),
            job_id=waiting,
            consensus_id=other.id,
            approved_by="ana",
            approved_at=1,
        )
        yes = Decision(approved=True, reviewed_by="ana", reviewer_type="human")
        now = SystemClock().now_ms()
        await tables.stores.ask(
            lambda stores: stores.consensus.decide(other.id, yes, now_ms=now, standing=[given])
        )
        pruner = Pruner(world.history, open_snapshots(tmp_path), gates)
        assert await pruner.older_than(2**53) == []
        assert await Pruner(world.history, open_snapshots(tmp_path)).older_than(2**53) == [waiting]
        await pruner.delete([waiting])
        assert list(await service.list(statuses=("pending",))) == []
        closed = await service.show(checkpoint.id)
        assert closed.decision is not None
        assert closed.decision.feedback == "its job was removed"
        assert [one.revoked_by for one in await service.standing_of(waiting)] == ["system"]
    finally:
        await service.aclose()


async def test_jobs_are_deleted_beside_each_other(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, __: done("ok"), (expert("lead"),))
    jobs = [(await world.start()).job_id for _ in range(4)]
    left_by_a_kill = tmp_path / "perstack" / "trash-job-0011"
    (left_by_a_kill / "runs").mkdir(parents=True)

    sizes: dict[JobId, int] = {}

    async def delete(job_id: JobId) -> None:
        sizes[job_id] = await open_history(tmp_path).delete_job(job_id)

    async with anyio.create_task_group() as group:
        for job_id in jobs:
            group.start_soon(partial(delete, job_id))
    assert len(sizes) == 4
    assert list((tmp_path / "perstack").glob("trash*")) == []
    assert await world.history.list_jobs() == []


@pytest.mark.parametrize("own", ["", '[snapshots]\nexclude = ["*.bin"]\n'])
async def test_env_files_are_stored_under_no_name(tmp_path: Path, own: str) -> None:
    paths = ["./prod.env", "sub/../a[1].env", str(tmp_path / "whole.env"), "link.env"]
    named = ["prod.env", "a[1].env", "whole.env", "link.env", "linked", "sub/.env.local"]
    text = f'envPath = {json.dumps(paths)}\n{own}\n[experts."e"]\ninstruction = "x"\n'
    (tmp_path / "perstack.toml").write_text(text)
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.env").symlink_to("linked")
    for name in [*named, "other.env", "x.bin"]:
        (tmp_path / name).write_text("CANARY=canary\n")

    def look() -> dict[str, bool]:
        project = open_project(tmp_path, None)
        found = open_snapshots(tmp_path).look(tmp_path, project.plan().settings.snapshots)
        return {path: entry.is_stored for path, entry in found.items()}

    stored = await to_thread.run_sync(look)
    assert {name for name in named if stored[name]} == set()
    assert (stored["other.env"], stored["x.bin"]) == (True, not own)

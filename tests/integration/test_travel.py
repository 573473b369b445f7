"""Looking at a job as it was, putting files back, and new jobs from its moments."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from pydantic import JsonValue

from perstack.domain.ids import ExpertKey, JobId
from perstack.domain.settings import SnapshotSettings
from perstack.domain.travel import ForkWish, Moment
from perstack.engine.plan import JobOutcome
from perstack.errors import ConflictError, NotFoundError, UnknownExpertError
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.system import RandomIds, SystemClock
from perstack.projection.event_facts import made_checkpoint
from perstack.runtime import open_snapshots
from perstack.services.forking import Forker
from perstack.services.pruning import Pruner
from perstack.services.restoring import Restorer
from perstack.services.snapshots import SnapshotKeeping
from perstack.services.travel import TravelService
from tests.fakes.engine import FakeSkills, World, done, expert, says

pytestmark = pytest.mark.anyio


class Stage:
    """A job whose writer reads, writes `a`, writes `b` and changes `a`, and is done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[ModelRequest] = []

        async def write(args: Mapping[str, JsonValue]) -> str:
            (folder / str(args["path"])).write_text(str(args["text"]))
            return "written"

        async def read(_: Mapping[str, JsonValue]) -> str:
            return "nothing"

        skills = FakeSkills(
            {"write": write, "read": read},
            repeatable=frozenset({"attemptCompletion", "read"}),
        )
        self.world = World(folder, self._mind, (expert("writer"),), skills=skills)
        self.world.snapshots = SnapshotKeeping(partial(open_snapshots, folder))
        self.past = TravelService(self.world.history, open_snapshots(folder), folder)
        self.restorer = Restorer(self.past, ids=RandomIds(), today=_nothing_more)
        self.forker = Forker(self.past, clock=SystemClock(), ids=RandomIds())

    def _mind(self, request: ModelRequest, turn: int) -> Generation:
        self.said.append(request)
        match turn:
            case 1:
                return says("", ("read", {}))
            case 2:
                return says("", ("write", {"path": "a", "text": "one\n"}))
            case 3:
                return says(
                    "both",
                    ("write", {"path": "b", "text": "x\n"}),
                    ("write", {"path": "a", "text": "one\ntwo\n"}),
                )
            case 4:
                return done()
            case _:
                return says("finished")

    async def run(self) -> tuple[JobOutcome, list[Moment]]:
        """Run the job; its moments are after reading, after `a`, after `b`, and its end."""
        ended = await self.world.start()
        assert self.world.heard.warnings == []
        points = [made_checkpoint(event) for event in self.world.heard.events]
        return ended, [Moment(ended.job_id, ended.run_id, point) for point in points if point]


async def _nothing_more() -> SnapshotSettings | None:
    return None


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "notes").write_text("mine\n")
    return Stage(folder)


async def test_each_checkpoint_shows_messages_files_tokens_and_cost(stage: Stage) -> None:
    _, moments = await stage.run()
    looks = [await stage.past.look(moment) for moment in moments]
    assert [[file.path for file in look.files or ()] for look in looks] == [
        ["notes"],
        ["a", "notes"],
        ["a", "b", "notes"],
        ["a", "b", "notes"],
    ]
    assert [look.usage.total_tokens for look in looks] == [15, 30, 45, 75]
    assert [message.kind for message in looks[0].messages] == [
        "instruction",
        "user",
        "assistant",
        "tool",
    ]
    assert await stage.past.file_text(moments[1], "a") == "one\n"


async def test_two_checkpoints_are_compared_and_the_disk_with_them(stage: Stage) -> None:
    _, moments = await stage.run()
    (stage.folder / "b").write_text("somebody's\n")
    found = await stage.past.compare(moments[1], moments[2])
    assert found.files is not None
    assert [(each.path, each.change, each.added, each.removed) for each in found.files] == [
        ("a", "modified", 1, 0),
        ("b", "added", 1, 0),
    ]
    assert [each.on_disk for each in found.files] == [False, True]
    assert ([each.kind for each in found.messages], found.unlike) == (
        ["assistant", "tool", "tool"],
        0,
    )
    assert found.tokens == 15
    assert list(await stage.past.file_diff(moments[1], moments[2], "a")) == [
        "@@ -1 +1,2 @@",
        " one",
        "+two",
    ]
    back = await stage.past.compare(moments[2], moments[1])
    assert (len(back.messages), back.unlike, back.tokens) == (0, 3, -15)


async def test_a_job_that_changes_nothing_costs_nothing(stage: Stage) -> None:
    stage.world.model.mind = lambda _, turn: says("", ("read", {})) if turn < 3 else done("ok")
    ended, moments = await stage.run()
    assert not (stage.folder / "perstack" / "blobs").exists()
    assert not list(stage.folder.rglob("snapshots.jsonl"))
    assert (await stage.past.look(moments[0])).files is None
    with pytest.raises(NotFoundError, match="no snapshot"):
        await stage.restorer.restore(moments[0])
    assert ended.outcome.ending == "completed"


async def test_files_are_put_back_but_for_what_somebody_changed_since(stage: Stage) -> None:
    _, moments = await stage.run()
    (stage.folder / "notes").write_text("changed since\n")
    (stage.folder / "new").write_text("new since\n")
    plan = await stage.restorer.plan(moments[0])
    assert (plan.written, plan.removed, plan.kept) == ((), ("a", "b"), ("new", "notes"))
    restored = await stage.restorer.restore(moments[0], also=["notes"])
    assert restored.plan.written == ("notes",)
    assert {path.name for path in stage.folder.iterdir()} == {"notes", "new", "perstack"}
    assert (stage.folder / "notes").read_text() == "mine\n"
    undone = await stage.restorer.again(restored.before)
    assert (undone.plan.kept, (stage.folder / "notes").read_text()) == ((), "changed since\n")
    assert (stage.folder / "a").read_text() == "one\ntwo\n"


async def test_nothing_is_put_back_under_a_job_at_work(stage: Stage) -> None:
    ended, moments = await stage.run()
    async with stage.world.history.drive_job(ended.job_id):
        with pytest.raises(ConflictError, match="works in"):
            await stage.restorer.restore(moments[0])
    assert (stage.folder / "b").exists()


async def test_a_fork_is_a_job_with_the_past_and_the_files_of_its_moment(stage: Stage) -> None:
    ended, moments = await stage.run()
    before = {p: p.read_bytes() for p in stage.folder.rglob("jobs/*/runs/*/*")}
    job = await stage.forker.fork(moments[1], ForkWish(), {})
    folder = Path(job.workspace or "")
    assert folder.parent == stage.folder.parent
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "a": "one\n",
        "notes": "mine\n",
    }
    assert job.total_steps == 2
    again = await stage.world.go_on(
        Continuation(job_id=job.id, text="other words", own_definitions=True)
    )
    assert again.outcome.ending == "completed"
    told = stage.said[-1].messages
    assert str(folder) in str(told[0])
    assert "other words" in str(told)
    assert {path: path.read_bytes() for path in before} == before
    new = next(
        Moment(job.id, again.run_id, point)
        for event in reversed(stage.world.heard.events)
        if (point := made_checkpoint(event)) is not None
    )
    across = await stage.past.compare(moments[1], new)
    assert (across.unlike, across.messages[0].kind) == (0, "user")
    assert (
        await stage.past.compare(
            moments[1], Moment(job.id, job.coordinator_run_id, moments[1].checkpoint_id)
        )
    ).files == ()
    assert ended.run_id != job.coordinator_run_id


async def test_a_fork_takes_the_newest_definition_when_told_so(stage: Stage) -> None:
    _, moments = await stage.run()
    newer = expert("writer").model_copy(update={"instruction": "Write in verse."})
    wish = ForkWish(newest_definition=True, copy_files=False)
    job = await stage.forker.fork(moments[1], wish, {ExpertKey("writer"): newer})
    assert job.workspace is None
    found = await stage.past.look(Moment(job.id, job.coordinator_run_id, moments[1].checkpoint_id))
    assert "Write in verse." in found.messages[0].text
    with pytest.raises(UnknownExpertError):
        await stage.forker.fork(moments[1], wish, {})


async def test_a_fork_overwrites_no_folder(stage: Stage, tmp_path: Path) -> None:
    _, moments = await stage.run()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "f").touch()
    with pytest.raises(ConflictError, match="exists"):
        await stage.forker.fork(moments[1], ForkWish(workspace=tmp_path / "there"), {})
    assert len(await stage.world.history.list_jobs()) == 1


async def test_a_delegates_moment_is_forked_as_its_own_job_and_not_resumed(tmp_path: Path) -> None:
    def mind(request: ModelRequest, turn: int) -> Generation:
        if "You are child." in str(request.messages[0]):
            return says("", ("think", {})) if turn == 1 else done("child is done")
        return says("", ("child", {"query": "go"})) if turn == 1 else done("all done")

    async def think(_: Mapping[str, JsonValue]) -> str:
        return "hm"

    lead, child = expert("lead", "child"), expert("child")
    world = World(tmp_path, mind, (lead, child), skills=FakeSkills({"think": think}))
    await world.start()
    event = next(
        event
        for event in world.heard.events
        if event.expert_key == "child" and made_checkpoint(event) is not None
    )
    point = made_checkpoint(event)
    assert point is not None
    moment = Moment(event.job_id, event.run_id, point)
    past = TravelService(world.history, open_snapshots(tmp_path), tmp_path)
    assert "fork" in (await past.why_not_resume(moment) or "")
    forker = Forker(past, clock=SystemClock(), ids=RandomIds())
    job = await forker.fork(moment, ForkWish(copy_files=False), {})
    assert job.coordinator_expert_key == "child"
    ended = await world.go_on(Continuation(job_id=job.id, own_definitions=True))
    assert (ended.outcome.ending, ended.outcome.text) == ("completed", "child is done")


async def test_deleting_a_job_frees_what_only_it_refers_to(stage: Stage) -> None:
    ended, moments = await stage.run()
    kept = await stage.forker.fork(moments[1], ForkWish(copy_files=False), {})
    pruner = Pruner(stage.world.history, open_snapshots(stage.folder))
    async with stage.world.history.drive_job(ended.job_id):
        with pytest.raises(ConflictError):
            await pruner.delete([ended.job_id])
    pruned = await pruner.delete([ended.job_id])
    assert pruned.swept.blobs == 2  # `b`, and `a` as it was last
    with pytest.raises(NotFoundError):
        await stage.world.history.get_job(ended.job_id)
    left = Moment(kept.id, kept.coordinator_run_id, moments[1].checkpoint_id)
    assert await stage.past.file_text(left, "a") == "one\n"
    assert await pruner.older_than(0) == []
    assert await pruner.older_than(2**53) == [kept.id]
    assert (await pruner.prune(2**53)).job_ids == (kept.id,)
    assert not [path for path in (stage.folder / "perstack").rglob("*") if len(path.name) == 62]


async def test_an_id_that_no_job_has_is_not_found(stage: Stage) -> None:
    _, moments = await stage.run()
    assert await stage.past.find(moments[2].checkpoint_id) == moments[2]
    with pytest.raises(NotFoundError, match="checkpoint not found"):
        await stage.past.find("nowhere")
    with pytest.raises(NotFoundError):
        await stage.past.look(Moment(JobId("none"), moments[0].run_id, moments[0].checkpoint_id))

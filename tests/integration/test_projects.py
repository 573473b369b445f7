"""Projects, their tasks and specifications, over every database that is at hand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.ids import ConsensusId, TaskId
from perstack.domain.projects import ProjectId, ProjectTaskId
from perstack.domain.specifications import Specification, SpecificationId
from perstack.errors import ConflictError, CorruptRecordError, NotFoundError, UsageError
from perstack.ports.system import Uuids
from perstack.services.handle import Handle
from perstack.services.project_tasks import ProjectTaskService, WorkCreated, WorkRequest
from perstack.services.project_work import work_by
from perstack.services.projects import ProjectService
from perstack.services.specifications import SpecificationService
from perstack.storage.database.opener import open_database, open_stores
from tests.fakes.consensus import SetClock
from tests.fakes.postgres import PostgresServer
from tests.fakes.tasks import FakeConsensus, open_desk

pytestmark = pytest.mark.anyio


@dataclass
class Desk:
    """All three services over one database, and what they announced and asked for."""

    projects: ProjectService
    tasks: ProjectTaskService
    specifications: SpecificationService
    clock: SetClock
    announced: list[tuple[str, Mapping[str, JsonValue]]] = field(
        default_factory=list[tuple[str, Mapping[str, JsonValue]]]
    )
    asked: list[WorkRequest] = field(default_factory=list[WorkRequest])
    work: WorkCreated = field(default_factory=WorkCreated)

    async def project(self) -> ProjectId:
        return (await self.projects.create("Site", "/srv/site")).id

    async def task(self) -> ProjectTaskId:
        return (await self.tasks.create(await self.project(), "Login", description="Two ways")).id

    async def specification(self) -> Specification:
        return await self.specifications.create(
            await self.task(), kind="design", title="Login", content="A form.", created_by="ana"
        )


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path | str:
    """A database of each kind for the whole module: a new one costs half a second."""
    if request.param == "sqlite":
        return tmp_path_factory.mktemp("projects") / "perstack.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


async def emptied(target: Path | str) -> Path | str:
    """Return the database without the projects of other tests."""
    database = await open_database(target)
    await database.write(lambda connection: connection.exec_driver_sql("DELETE FROM projects"))
    await database.aclose()
    return target


@pytest.fixture
async def desk(database: Path | str) -> AsyncGenerator[Desk]:
    clock, ids = SetClock(), Uuids()
    target = await emptied(database)
    stores = Handle(lambda: open_stores(target, clock=clock, ids=ids))

    async def announce(event: str, payload: Mapping[str, JsonValue]) -> None:
        made.announced.append((event, payload))

    async def create_work(request: WorkRequest) -> WorkCreated:
        made.asked.append(request)
        return made.work

    made = Desk(
        ProjectService(stores, clock=clock, ids=ids, announce=announce),
        ProjectTaskService(
            stores, clock=clock, ids=ids, create_work=create_work, announce=announce
        ),
        SpecificationService(stores, clock=clock, ids=ids, announce=announce),
        clock,
    )
    yield made
    await stores.aclose()


async def test_a_project_is_read_back_as_it_was_written_and_changed(desk: Desk) -> None:
    made = await desk.projects.create("Site", "/srv", description="d", metadata={"a": [1, None]})
    assert await desk.projects.get(made.id) == made
    desk.clock.move(5)
    changed = await desk.projects.update(made.id, name="Shop", status="archived")
    assert changed == await desk.projects.get(made.id)
    assert (changed.name, changed.path, changed.status) == ("Shop", "/srv", "archived")
    assert changed.updated_at == made.updated_at + 5
    assert [event for event, _ in desk.announced] == ["project:created", "project:updated"]


async def test_projects_are_listed_by_status_the_last_changed_first(desk: Desk) -> None:
    ids: list[ProjectId] = []
    for _ in range(3):
        desk.clock.move(1)
        ids.append(await desk.project())
    desk.clock.move(1)
    await desk.projects.update(ids[0], status="archived")
    assert [one.id for one in await desk.projects.list()] == [ids[0], ids[2], ids[1]]
    assert [one.id for one in await desk.projects.list(status="active", limit=1)] == [ids[2]]
    assert [one.id for one in await desk.projects.list(offset=2)] == [ids[1]]


async def test_texts_that_no_database_takes_are_made_harmless(desk: Desk) -> None:
    made = await desk.projects.create("a\0b\ud800c", "/x", metadata={"k": "\0\ud800"})
    found = await desk.projects.get(made.id)
    assert found.name.replace("\ufffd", "") == "abc"
    assert found.metadata == {"k": "\0\ud800"}


@pytest.mark.parametrize(
    ("name", "path"), [("", "/x"), ("  ", "/x"), ("x" * 201, "/x"), ("x", ""), ("x", "y" * 5_000)]
)
async def test_a_text_out_of_bounds_is_refused(desk: Desk, name: str, path: str) -> None:
    with pytest.raises(UsageError):
        await desk.projects.create(name, path)


async def test_what_is_not_there_is_not_found(desk: Desk) -> None:
    nobody = "' OR 1=1 --"
    with pytest.raises(NotFoundError, match="Project not found"):
        await desk.projects.get(ProjectId(nobody))
    with pytest.raises(NotFoundError, match="Project not found"):
        await desk.tasks.create(ProjectId(nobody), "t")
    with pytest.raises(NotFoundError, match="Project not found"):
        await desk.tasks.list(ProjectId(nobody))
    with pytest.raises(NotFoundError, match="Project task not found"):
        await desk.tasks.move(ProjectTaskId("\0"), "review")
    with pytest.raises(NotFoundError, match="Project task not found"):
        await desk.specifications.list(ProjectTaskId(nobody))
    with pytest.raises(NotFoundError, match="Specification not found"):
        await desk.specifications.delete(SpecificationId(nobody))


async def test_tasks_come_by_priority_then_by_the_last_change(desk: Desk) -> None:
    project = await desk.project()
    for priority in (5, 1, 5, 9):
        desk.clock.move(1)
        await desk.tasks.create(project, f"p{priority}", priority=priority)
    listed = await desk.tasks.list(project)
    assert [one.priority for one in listed] == [1, 5, 5, 9]
    assert listed[1].updated_at > listed[2].updated_at
    await desk.tasks.move(listed[0].id, "specification")
    assert [one.id for one in await desk.tasks.list(project, phase="specification")] == [
        listed[0].id
    ]


@pytest.mark.parametrize("priority", [0, 11, -1])
async def test_a_priority_out_of_bounds_is_refused(desk: Desk, priority: int) -> None:
    with pytest.raises(UsageError, match="priority must be 1 to 10"):
        await desk.tasks.create(await desk.project(), "t", priority=priority)


async def test_agentstack_row_144_an_illegal_phase_lists_the_legal_ones(desk: Desk) -> None:
    task = await desk.task()
    with pytest.raises(
        ConflictError,
        match=r"^Cannot transition from draft to development\. Allowed: specification, cancelled$",
    ):
        await desk.tasks.move(task, "development")
    with pytest.raises(UsageError, match="Must be one of: draft, specification, review"):
        await desk.tasks.move(task, "done")
    assert (await desk.tasks.get(task)).phase == "draft"
    await desk.tasks.move(task, "cancelled")
    with pytest.raises(ConflictError, match=r"from cancelled to draft\. Allowed: none"):
        await desk.tasks.move(task, "draft")


async def test_agentstack_row_145_a_draft_is_not_approved_and_a_rejection_says_why(
    desk: Desk,
) -> None:
    made = await desk.specification()
    with pytest.raises(ConflictError, match="Cannot approve a specification that is draft"):
        await desk.specifications.approve(made.id, reviewed_by="bo")
    await desk.specifications.submit(made.id)
    with pytest.raises(UsageError, match="Comments are required"):
        await desk.specifications.reject(made.id, reviewed_by="bo", comments=[])
    assert (await desk.specifications.get(made.id)).status == "pending_review"


async def test_a_rejected_specification_is_edited_handed_in_again_and_approved(desk: Desk) -> None:
    made = await desk.specification()
    await desk.specifications.submit(made.id)
    refused = await desk.specifications.reject(made.id, reviewed_by="bo", comments=["too short"])
    assert [comment.content for comment in refused.comments] == ["too short"]
    edited = await desk.specifications.update(made.id, content="A form, and a link.")
    assert (edited.version, edited.status) == (2, "rejected")
    await desk.specifications.submit(made.id)
    done = await desk.specifications.approve(made.id, reviewed_by="bo", version=2)
    assert done == await desk.specifications.get(made.id)
    assert (done.status, done.reviewed_by, done.approved_at) == (
        "approved",
        "bo",
        desk.clock.now_ms(),
    )
    with pytest.raises(ConflictError, match="Cannot update an approved specification"):
        await desk.specifications.update(made.id, title="x")
    with pytest.raises(ConflictError, match="Cannot submit"):
        await desk.specifications.submit(made.id)


async def test_nobody_approves_a_text_that_changed_under_review(desk: Desk) -> None:
    made = await desk.specification()
    await desk.specifications.submit(made.id)
    assert (await desk.specifications.update(made.id, content="Other.")).status == "draft"
    assert desk.announced[-1] == ("spec:status", {"specId": made.id, "status": "draft"})
    await desk.specifications.submit(made.id)
    with pytest.raises(ConflictError, match="at version 2, not 1"):
        await desk.specifications.approve(made.id, reviewed_by="bo", version=1)


async def test_comments_are_added_and_resolved_at_any_time(desk: Desk) -> None:
    made = await desk.specification()
    said = await desk.specifications.comment(made.id, author="bo", content="why?")
    done = await desk.specifications.resolve(made.id, said.comments[0].id)
    assert (done.comments[0].resolved, done.version) == (True, 1)
    with pytest.raises(NotFoundError, match="Comment not found"):
        await desk.specifications.resolve(made.id, "nope")


async def test_deleting_a_project_deletes_all_that_belongs_to_it(desk: Desk) -> None:
    made = await desk.specification()
    task = await desk.tasks.get(made.project_task_id)
    await desk.projects.delete(task.project_id)
    with pytest.raises(NotFoundError):
        await desk.tasks.get(task.id)
    with pytest.raises(NotFoundError):
        await desk.specifications.get(made.id)
    with pytest.raises(NotFoundError, match="Project not found"):
        await desk.projects.delete(task.project_id)


async def test_a_real_task_is_made_of_a_projects_task_and_linked(desk: Desk) -> None:
    task = await desk.task()
    await desk.tasks.assign(task, ["tester", "coder", "tester"])
    desk.work = WorkCreated(task_id=TaskId("t1"))
    linked, created = await desk.tasks.create_work(task)
    assert (linked.task_ids, created.task_id) == (("t1",), "t1")
    assert desk.asked == [WorkRequest("tester", "Login\n\nTwo ways", None, task)]
    desk.work = WorkCreated(consensus_id=ConsensusId("k1"))
    await desk.tasks.create_work(task, text="only this", agent_type="coder", queued=True)
    found = await desk.tasks.get(task)
    assert (found.task_ids, found.consensus_ids) == (("t1",), ("k1",))
    assert desk.asked[1] == WorkRequest("coder", "only this", None, task, priority=6)


async def test_nothing_is_linked_when_the_task_was_refused_or_the_work_is_over(desk: Desk) -> None:
    task = await desk.task()
    desk.work = WorkCreated(refused="Task creation prevented due to semantic drift")
    linked, created = await desk.tasks.create_work(task)
    assert (linked.task_ids, created.refused) == ((), desk.work.refused)
    await desk.tasks.move(task, "cancelled")
    with pytest.raises(ConflictError, match="Project task is already cancelled"):
        await desk.tasks.create_work(task)


async def test_of_many_reviewers_at_once_over_two_connections_one_decides(
    database: Path | str,
) -> None:
    clock, ids = SetClock(), Uuids()

    handles = [Handle(lambda: open_stores(database, clock=clock, ids=ids)) for _ in "ab"]
    services = [SpecificationService(one, clock=clock, ids=ids) for one in handles]
    project = await ProjectService(handles[0], clock=clock, ids=ids).create("p", "/p")
    task = await ProjectTaskService(handles[0], clock=clock, ids=ids).create(project.id, "t")
    made = await services[0].create(task.id, kind="api", title="t", content="c", created_by="ana")
    await services[0].submit(made.id)
    won: list[str] = []

    async def decide(number: int) -> None:
        service = services[number % 2]
        try:
            if number % 3:
                await service.approve(made.id, reviewed_by=str(number))
            else:
                await service.reject(made.id, reviewed_by=str(number), comments=["no"])
        except ConflictError:
            return
        won.append(str(number))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(decide, number)
    assert [(await services[0].get(made.id)).reviewed_by] == won
    for one in handles:
        await one.aclose()


async def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    target = tmp_path / "perstack.db"
    clock, ids = SetClock(), Uuids()
    stores = Handle(lambda: open_stores(target, clock=clock, ids=ids))
    service = ProjectService(stores, clock=clock, ids=ids)
    made = await service.create("p", "/p")
    damaging = await open_database(target)
    await damaging.write(
        lambda connection: connection.exec_driver_sql("UPDATE projects SET metadata = '{'")
    )
    await damaging.aclose()
    with pytest.raises(CorruptRecordError, match=f"project '{made.id}' is damaged"):
        await service.get(made.id)
    await stores.aclose()


async def test_the_work_of_a_projects_task_is_a_task_like_any_other(tmp_path: Path) -> None:
    target = tmp_path / "perstack.db"
    clock, ids = SetClock(), Uuids()
    async with open_desk(target, consensus=FakeConsensus(estimate="high"), clock=clock) as real:
        project = await ProjectService(real.handle, clock=clock, ids=ids).create("p", "/p")
        tasks = ProjectTaskService(
            real.handle, clock=clock, ids=ids, create_work=work_by(real.tasks.create)
        )
        wanted = await tasks.create(project.id, "Login", assigned_agents=["tester"], priority=2)
        linked, created = await tasks.create_work(wanted.id, queued=True)
        [task_id] = linked.task_ids
        assert created.task_id == task_id
        made = await real.tasks.get(task_id)
        assert (made.agent_type, made.input, made.priority) == ("tester", "Login", 9)
        gated, waits = await tasks.create_work(wanted.id, parent_task_id=task_id)
        assert (waits.task_id, gated.consensus_ids) == (None, ("k1",))

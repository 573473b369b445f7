"""Runs as tasks: what is gathered is written once, forgotten afterwards, and waits for no hook."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
import pytest

from perstack.domain.events import Body, CompleteRun, Event, RunError, StopRunByError, SuspendRun
from perstack.domain.hooks import HookContext
from perstack.domain.ids import (
    CheckpointId,
    ExpertKey,
    JobId,
    RunId,
    SessionId,
    TaskId,
)
from perstack.domain.tasks import Task, TaskEnding
from perstack.errors import ConflictError, LockedError
from perstack.ports.desk import NOBODY, RunCard
from perstack.services.run_tasks import RunTasks
from tests.fakes.events import make_event, tokens

pytestmark = pytest.mark.anyio

LEAD, OTHER = RunId("lead"), RunId("other")


@dataclass
class Book:
    """Implements `TaskBook`; raises `failure` for the run `unlucky`."""

    unlucky: RunId | None = None
    failure: Exception | None = None
    begun: list[str] = field(default_factory=list[str])
    settled: list[tuple[str, str, str | None]] = field(
        default_factory=list[tuple[str, str, str | None]]
    )
    moved: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    async def delegated(
        self,
        run_id: RunId,
        expert_key: ExpertKey,
        task_input: str,
        *,
        parent_run_id: RunId | None,
        job_id: JobId,
        session_id: SessionId | None = None,
        depth: int = 0,
    ) -> Task:
        if run_id == self.unlucky and self.failure is not None:
            raise self.failure
        self.begun.append(run_id)
        return Task(id=TaskId(run_id), agent_type=expert_key, created_at=0)

    async def settle(self, run_id: RunId, status: TaskEnding, output: str | None) -> Task | None:
        self.settled.append((run_id, status, output))
        return None

    async def let_go(self, run_id: RunId) -> bool:
        self._moved("let go", run_id)
        return True

    async def taken_up(self, run_id: RunId) -> bool:
        self._moved("taken up", run_id)
        return True

    def _moved(self, move: str, run_id: RunId) -> None:
        if run_id == self.unlucky and self.failure is not None:
            raise self.failure
        self.moved.append((move, run_id))


def card(run_id: RunId, query: str | None = "do it") -> RunCard:
    return RunCard(JobId("j"), run_id, ExpertKey("lead"), NOBODY, query, None, 0, 1)


def told(run_id: RunId, body: Body) -> Event:
    return make_event(body, run=run_id)


POINT = CheckpointId("c")
COMPLETED = CompleteRun(checkpoint_id=POINT, usage=tokens(1))
SUSPENDED = SuspendRun(checkpoint_id=POINT, reason="user")
FAILED = StopRunByError(
    checkpoint_id=POINT, error=RunError(name="E", message="no"), usage=tokens(1)
)


async def test_a_run_that_stopped_without_an_end_is_forgotten_once_its_task_is_written() -> None:
    book = Book()
    tasks = RunTasks(book, redact=str)
    tasks.begin(card(LEAD))
    tasks.hear(told(LEAD, SUSPENDED))
    tasks.let_go(LEAD)
    await tasks.flush()
    tasks.hear(told(LEAD, COMPLETED))
    await tasks.flush()
    assert (book.begun, book.settled, book.moved) == ([LEAD], [], [("let go", LEAD)])


async def test_a_run_taken_up_again_before_its_task_was_written_has_one_all_the_same() -> None:
    book = Book(LEAD, LockedError("locked"))
    tasks = RunTasks(book, redact=str)
    tasks.begin(card(LEAD))
    tasks.hear(told(LEAD, FAILED))
    tasks.let_go(LEAD)
    with pytest.raises(LockedError):
        await tasks.flush()
    tasks.begin(card(LEAD, query=None))
    tasks.hear(told(LEAD, COMPLETED))
    book.failure = None
    await tasks.flush()
    assert (book.begun, book.settled) == ([LEAD], [(LEAD, "completed", None)])


async def test_a_run_that_is_taken_up_again_is_a_task_at_work_until_it_is_let_go() -> None:
    book = Book()
    tasks = RunTasks(book, redact=str)
    tasks.begin(card(LEAD, query=None))
    for _ in range(2):
        await tasks.flush()
    assert book.moved == [("taken up", LEAD)]
    tasks.let_go(LEAD)
    for _ in range(2):
        await tasks.flush()
    assert (book.begun, book.moved) == ([], [("taken up", LEAD), ("let go", LEAD)])


async def test_that_a_run_was_let_go_is_written_later_when_it_cannot_be_now() -> None:
    book = Book()
    tasks = RunTasks(book, redact=str)
    tasks.begin(card(LEAD))
    await tasks.flush()
    book.unlucky, book.failure = LEAD, LockedError("locked")
    tasks.let_go(LEAD)
    with pytest.raises(LockedError):
        await tasks.flush()
    book.failure = None
    await tasks.flush()
    assert book.moved == [("let go", LEAD)]


async def test_a_run_that_ended_is_not_let_go_as_well() -> None:
    book = Book()
    tasks = RunTasks(book, redact=str)
    tasks.begin(card(LEAD))
    tasks.hear(told(LEAD, COMPLETED))
    tasks.let_go(LEAD)
    await tasks.flush()
    assert (book.settled, book.moved) == ([(LEAD, "completed", None)], [])


async def test_a_task_that_can_never_be_written_holds_up_no_other() -> None:
    book = Book(LEAD, ConflictError("never"))
    tasks = RunTasks(book, redact=str)
    tasks.begin(card(LEAD))
    tasks.begin(card(OTHER))
    await tasks.flush()
    assert book.begun == [OTHER]


async def test_what_is_written_waits_for_no_hook_and_each_is_called_once() -> None:
    called: list[str] = []
    go_on = anyio.Event()

    async def slow(context: HookContext) -> None:
        await go_on.wait()
        called.append(context.event)

    book = Book()
    tasks = RunTasks(book, redact=str, hooks=slow)
    tasks.begin(card(LEAD))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(tasks.keep_calling_hooks)
            await tasks.flush()
            tasks.hear(told(LEAD, COMPLETED))
            await tasks.flush()
            assert (len(book.settled), called) == (1, [])
            go_on.set()
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        await tasks.call_hooks()
    assert called == ["pre-task", "post-task"]

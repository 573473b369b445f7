"""Every run is a task: the delegating run's is its parent. Written after the engine went on."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import anyio
from pydantic import JsonValue

from perstack.domain.events import (
    CallTools,
    CompleteRun,
    Event,
    StopRunByError,
    StopRunByExceededBudget,
    StopRunByExceededMaxSteps,
    ToolReturned,
)
from perstack.domain.hooks import HookContext
from perstack.domain.ids import ExpertKey, JobId, RunId, SessionId, TaskId, ToolCallId
from perstack.domain.tasks import MAX_OUTPUT_CHARS, Task, TaskEnding
from perstack.errors import PerstackError, StorageError
from perstack.ports.announcements import Announcement, Announcer, NoAnnouncer
from perstack.ports.desk import RunCard
from perstack.projection.cutting import one_line
from perstack.projection.event_facts import changed_files, written_paths

_SUBJECT: Final = 120
_LOG: Final = logging.getLogger(__name__)


class TaskBook(Protocol):
    """Tasks, as runs are written into them. All calls may be made again."""

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
        """Write the task of a run that begins, and that its parent's is its parent."""
        ...

    async def settle(self, run_id: RunId, status: TaskEnding, output: str | None) -> Task | None:
        """Write how it ended."""
        ...

    async def let_go(self, run_id: RunId) -> bool:
        """Write that nobody works at it now, though it did not end."""
        ...

    async def taken_up(self, run_id: RunId) -> bool:
        """Write that somebody works at it again."""
        ...


RunHooks = Callable[[HookContext], Awaitable[object]]


@dataclass(slots=True)
class _Work:
    card: RunCard
    begun: bool = False
    again: bool = False
    gone: bool = False
    ending: TaskEnding | None = None
    output: str | None = None
    said: str | None = None
    paths: dict[ToolCallId, list[str]] = field(default_factory=dict[ToolCallId, list[str]])
    files: dict[str, None] = field(default_factory=dict[str, None])

    @property
    def modified(self) -> list[JsonValue]:
        return [*self.files]


class RunTasks:
    """Gathers from events, synchronously, what `flush` writes: tasks.

    The hooks around them are called by `call_hooks`, one after another: they may be slow, and
    nobody's record waits for them.
    """

    def __init__(
        self,
        book: TaskBook,
        *,
        redact: Callable[[str], str],
        hooks: RunHooks | None = None,
        announcer: Announcer | None = None,
    ) -> None:
        self._book = book
        self._redact = redact
        self._hooks = hooks
        self._announcer = announcer or NoAnnouncer()
        self._works: dict[RunId, _Work] = {}
        self._flushing = anyio.Lock()
        self._due: deque[HookContext] = deque()
        self._more = anyio.Event()
        self._calling = anyio.Lock()

    def begin(self, card: RunCard) -> None:
        """A run is taken up; one with a past has its task already."""
        if card.is_question:
            return
        known = self._works.get(card.run_id)
        if known is not None and not known.begun:
            # It was let go and is taken up again before anything of it could be written.
            known.gone, known.ending = False, None
            return
        past = card.query is None
        self._works[card.run_id] = _Work(card, begun=past, again=past)

    def begin_again(self, run_id: RunId) -> None:
        """Somebody took the run for dead, and wrote so, while it went on."""
        work = self._works.get(run_id)
        if work is not None:
            work.again = work.begun

    def let_go(self, run_id: RunId) -> None:
        """A run is driven no more; one that did not end waits, once its task is written."""
        work = self._works.get(run_id)
        if work is not None:
            work.gone = True

    def hear(self, event: Event) -> None:
        """Take in an event of a run that began."""
        work = self._works.get(event.run_id)
        if work is None:
            return
        match event.body:
            case CallTools(new_message=message):
                work.said = message.text or work.said
                work.paths = {call.tool_call_id: written_paths(call) for call in message.tool_calls}
            case ToolReturned(result=result) if changed_files(result):
                work.files.update(dict.fromkeys(work.paths.get(result.id, ())))
            case CompleteRun(new_message=message):
                work.ending, work.output = "completed", message.text if message else work.said
            case StopRunByError():
                work.ending, work.output = "failed", event.body.error.message
            case StopRunByExceededMaxSteps() | StopRunByExceededBudget():
                work.ending, work.output = "failed", "a limit of the job was reached"
            case _:
                pass

    async def flush(self) -> None:
        """Write what was gathered, parents first. What can never be written is given up.

        Raises:
            StorageError: it cannot be written now; nothing is lost.
        """
        async with self._flushing:
            for run_id, work in list(self._works.items()):
                try:
                    await self._write(work)
                except StorageError:
                    raise
                except PerstackError as error:
                    _LOG.warning("the task of run %s is not written: %s", run_id, error.message)
                    work.begun, work.gone = True, True
                if work.gone and self._works.get(run_id) is work:
                    del self._works[run_id]

    async def keep_calling_hooks(self) -> None:
        """Call hooks as they fall due, until cancelled."""
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            await self.call_hooks()

    async def call_hooks(self) -> None:
        """Call the hooks that are due now, each once."""
        async with self._calling:
            while self._hooks is not None and self._due:
                # Taken from the list when it is done: what closing cuts off is called then.
                await self._hooks(self._due[0])
                self._due.popleft()

    async def _write(self, work: _Work) -> None:
        if not work.begun:
            await self._begin(work)
        if work.again:
            await self._book.taken_up(work.card.run_id)
            work.again = False
        if work.ending is not None:
            await self._settle(work, work.ending)
            work.gone = True
        elif work.gone:
            await self._book.let_go(work.card.run_id)

    async def _begin(self, work: _Work) -> None:
        card = work.card
        await self._book.delegated(
            card.run_id,
            card.expert_key,
            card.query or "",
            parent_run_id=card.parent_run_id or _as_run(card.carrier.task_id),
            job_id=card.job_id,
            session_id=card.carrier.session_id,
            depth=card.depth,
        )
        work.begun = True
        self._call_later("pre-task", work)

    async def _settle(self, work: _Work, ending: TaskEnding) -> None:
        output = None if work.output is None else self._redact(work.output)[:MAX_OUTPUT_CHARS]
        await self._book.settle(work.card.run_id, ending, output)
        self._announcer.announce(
            Announcement(
                "task_completed" if ending == "completed" else "task_failed",
                one_line(work.card.query or work.card.expert_key, _SUBJECT),
                (("agent", work.card.expert_key),),
            )
        )
        self._call_later("post-task", work)

    def _call_later(self, event: Literal["pre-task", "post-task"], work: _Work) -> None:
        if self._hooks is None:
            return
        data: dict[str, JsonValue] = {"input": work.card.query}
        if event == "post-task":
            data |= {"status": work.ending, "modifiedFiles": work.modified}
        card = work.card
        self._due.append(
            HookContext(event, card.carrier.session_id, TaskId(card.run_id), card.expert_key, data)
        )
        self._more.set()


def _as_run(task_id: TaskId | None) -> RunId | None:
    """A task's id where a run's is wanted: a run's task has the run's id."""
    return None if task_id is None else RunId(task_id)

"""Hooks: what is done before and after sessions and tasks, and workflows that are started then."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Self

import anyio
from anyio.abc import TaskGroup
from pydantic import JsonValue

from perstack.domain.coordination import CoordinationSettings
from perstack.domain.hooks import (
    DOC_SYNC,
    HOOK_EVENTS,
    HookContext,
    HookEvent,
    HookHandler,
    HookMemory,
    WorkflowTrigger,
    touches_documents,
)
from perstack.ports.system import Clock
from perstack.services.bounds import check_word
from perstack.services.foreign_calls import call_foreign

BOUND_S: Final = 30.0
CLOSING_S: Final = 5.0
PREVIOUS: Final = 5
MOST_STORED: Final = 100_000
SESSIONS: Final = "sessions"
TASKS: Final = "tasks"
WORKFLOWS: Final = "workflows"

_LOG: Final = logging.getLogger(__name__)

StartWorkflow = Callable[[str, Mapping[str, JsonValue]], Awaitable[JsonValue]]


@dataclass(frozen=True, slots=True, eq=False)
class _Hook:
    handler: HookHandler
    owner: str


class HookService:
    """Runs the built-in hook of an event and then the custom ones, in the order of registration.

    What a hook raises is logged and never reaches whoever fired it; each gets `bound_s` seconds.
    `settings.hooks` switches whole events off. `run_workflow` runs a workflow to its report: that
    happens in the background, and only inside `async with` this service. `redact` takes secrets out
    of what is remembered. Sessions begin and end in `SessionService`, which fires their hooks.
    """

    def __init__(
        self,
        memory: HookMemory,
        *,
        settings: CoordinationSettings,
        clock: Clock,
        run_workflow: StartWorkflow | None = None,
        redact: Callable[[str], str] = str,
        bound_s: float = BOUND_S,
        closing_s: float = CLOSING_S,
    ) -> None:
        self._memory = memory
        self._settings = settings
        self._clock = clock
        self._run_workflow = run_workflow
        self._redact = redact
        self._bound_s = bound_s
        self._closing_s = closing_s
        self._hooks: dict[HookEvent, list[_Hook]] = {event: [] for event in HOOK_EVENTS}
        self._triggers: dict[str, WorkflowTrigger] = {}
        self._at_work: set[str] = set()
        self._group: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        """Begin to run workflows."""
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give workflows `closing_s` seconds to end, then cancel them."""
        group, self._group = self._group, None
        if group is not None:
            group.cancel_scope.deadline = anyio.current_time() + self._closing_s
            await group.__aexit__(kind, error, trace)

    # --------------------------------------------------------- registration

    def register_hook(
        self, event: str, handler: HookHandler, *, owner: str = "program"
    ) -> Callable[[], None]:
        """Call `handler(context, memory, config)` at an event; return what takes it back.

        Raises:
            UsageError: there is no such event.
        """
        hooks = self._hooks[check_word(event, "hook event", HOOK_EVENTS)]
        hook = _Hook(handler, owner)
        hooks.append(hook)

        def unregister() -> None:
            if hook in hooks:
                hooks.remove(hook)

        return unregister

    def register_workflow_trigger(self, trigger: WorkflowTrigger) -> None:
        """Start a workflow whenever a condition holds, in place of a trigger with the same id."""
        self._triggers[trigger.id] = trigger

    def clear_workflow_triggers(self) -> None:
        """Take back all triggers."""
        self._triggers.clear()

    @property
    def workflow_triggers(self) -> Sequence[WorkflowTrigger]:
        """The triggers, in the order of registration."""
        return tuple(self._triggers.values())

    def hooks(self, event: HookEvent) -> Sequence[str]:
        """Return who registered the custom hooks of an event, in their order."""
        return tuple(hook.owner for hook in self._hooks[event])

    # ---------------------------------------------------------------- firing

    async def execute(self, context: HookContext) -> HookContext:
        """Run an event's hooks; return the context with what they added. Never raises."""
        if not self._is_on(context.event):
            return context
        await self._run("the built-in hook", partial(self._built_in, context), context.event)
        for hook in tuple(self._hooks[context.event]):
            work = partial(hook.handler, context, self._memory, self._settings)
            await self._run(f"a hook of {hook.owner}", work, context.event)
        return context

    async def _run(
        self, whose: str, work: Callable[[], Awaitable[object] | object], event: HookEvent
    ) -> None:
        try:
            await call_foreign(work, within_s=self._bound_s)
        except TimeoutError:
            _LOG.warning("%s for %s was given up after %g s", whose, event, self._bound_s)
        except Exception:  # noqa: BLE001  a hook fails for itself alone
            _LOG.exception("%s for %s failed", whose, event)

    def _is_on(self, event: HookEvent) -> bool:
        hooks = self._settings.hooks
        match event:
            case "session-start":
                return hooks.session_start
            case "session-end":
                return hooks.session_end
            case "pre-task":
                return hooks.pre_task
            case "post-task":
                return hooks.post_task
            case "workflow":
                return True

    # -------------------------------------------------------- built-in hooks

    async def _built_in(self, context: HookContext) -> None:
        match context.event:
            case "session-start":
                await self._record(SESSIONS, "session", context.session_id, "start", context)
            case "session-end":
                await self._record(SESSIONS, "session", context.session_id, "end", context)
            case "pre-task":
                await self._recall(context)
                await self._record(TASKS, "task", context.task_id, "pre", context)
            case "post-task":
                await self._record(TASKS, "task", context.task_id, "post", context)
                if touches_documents(context):
                    self._fire(context, only=DOC_SYNC)
            case "workflow":
                self._fire(context)

    async def _recall(self, context: HookContext) -> None:
        if context.agent_type is None:
            return
        found = await self._memory.search(
            f"{context.agent_type} task", namespace=TASKS, limit=PREVIOUS
        )
        context.data["previousContext"] = list(found)

    async def _record(
        self, namespace: str, kind: str, subject: str | None, moment: str, context: HookContext
    ) -> None:
        if subject is None:
            return
        told = {name: one for name, one in context.data.items() if name != "previousContext"}
        record: dict[str, JsonValue] = {
            "event": context.event,
            "sessionId": context.session_id,
            "taskId": context.task_id,
            "agentType": context.agent_type,
            "timestamp": self._clock.now_ms(),
            "data": told,
        }
        content = _shortened(record)
        # Words, so that `<agentType> task` finds it.
        lead = f"{context.agent_type or ''} {kind} {moment}".strip()
        await self._memory.store(
            f"{kind}:{subject}:{moment}", self._redact(f"{lead}\n{content}"), namespace=namespace
        )

    # ------------------------------------------------------------- workflows

    def _fire(self, context: HookContext, *, only: str | None = None) -> None:
        """Start the workflows whose conditions hold. One that is at work starts nothing anew.

        So a workflow whose own tasks change documents does not start itself for ever.
        """
        for trigger in tuple(self._triggers.values()):
            if only is not None and trigger.workflow_id != only:
                continue
            if trigger.id in self._at_work or not _holds(trigger, context):
                continue
            if self._group is None or self._run_workflow is None:
                _LOG.warning("the workflow %s cannot be run here", trigger.workflow_id)
                continue
            self._at_work.add(trigger.id)
            name = f"workflow:{trigger.workflow_id}"
            self._group.start_soon(self._work, trigger, self._run_workflow, context, name=name)

    async def _work(
        self, trigger: WorkflowTrigger, run: StartWorkflow, context: HookContext
    ) -> None:
        try:
            report = await run(trigger.workflow_id, trigger.options)
            subject = context.task_id or trigger.id
            if isinstance(report, dict) and isinstance(report.get("id"), str):
                subject = str(report["id"])
            key = f"workflow-report-{subject}"
            text = self._redact(_shortened(report))
            await self._memory.store(key, text, namespace=WORKFLOWS)
        except Exception:  # noqa: BLE001  nobody waits for it
            _LOG.exception("the workflow %s failed", trigger.workflow_id)
        finally:
            self._at_work.discard(trigger.id)


def _holds(trigger: WorkflowTrigger, context: HookContext) -> bool:
    try:
        return bool(trigger.condition(context))
    except Exception:  # noqa: BLE001  it is somebody else's
        _LOG.exception("the condition of the trigger %s failed", trigger.id)
        return False


def _shortened(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)[:MOST_STORED]

"""Hooks: order, toggles, failures, what the built-in ones remember, and workflows."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.coordination import CoordinationSettings, HookSettings
from perstack.domain.hooks import (
    HookContext,
    HookEvent,
    HookMemory,
    WorkflowTrigger,
    doc_sync_trigger,
    touches_documents,
)
from perstack.domain.ids import SessionId, TaskId
from perstack.errors import UsageError
from perstack.services.hooks import HookService
from tests.fakes.consensus import NOW_MS, SetClock, until

pytestmark = pytest.mark.anyio


@dataclass
class Remembered:
    """Memory that keeps everything in a dict."""

    entries: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    asked: list[str] = field(default_factory=list[str])

    async def store(
        self,
        key: str,
        content: str,
        *,
        namespace: str,
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> None:
        self.entries[namespace, key] = content

    async def search(self, query: str, *, namespace: str, limit: int) -> Sequence[str]:
        self.asked.append(query)
        found = [text for (space, _), text in self.entries.items() if space == namespace]
        return found[:limit]


def service(
    memory: HookMemory, hooks: HookSettings | None = None, *, bound_s: float = 30.0
) -> HookService:
    settings = CoordinationSettings(hooks=hooks or HookSettings())
    return HookService(memory, settings=settings, clock=SetClock(), bound_s=bound_s)


def post_task(*files: str) -> HookContext:
    modified: list[JsonValue] = list(files)
    return HookContext(
        "post-task", task_id=TaskId("t1"), agent_type="coder", data={"modifiedFiles": modified}
    )


async def test_the_built_in_hook_comes_first_and_custom_ones_in_their_order() -> None:
    memory, seen = Remembered(), list[str]()
    hooks = service(memory)

    async def first(context: HookContext, memory: HookMemory, config: CoordinationSettings) -> None:
        assert isinstance(memory, Remembered)
        seen.append(f"first after {len(memory.entries)} for {context.task_id}")
        context.data["note"] = config.hooks.post_task

    def second(context: HookContext, memory: HookMemory, config: CoordinationSettings) -> None:
        seen.append(f"second knows {context.data['note']}")

    hooks.register_hook("post-task", first, owner="a")
    hooks.register_hook("post-task", second, owner="b")
    context = await hooks.execute(post_task())
    assert seen == ["first after 1 for t1", "second knows True"]
    assert context.data["note"] is True
    assert hooks.hooks("post-task") == ("a", "b")


async def test_agentstack_row_130_a_hook_that_throws_does_not_stop_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks, seen = service(Remembered()), list[str]()

    def bad(context: HookContext, memory: HookMemory, config: CoordinationSettings) -> None:
        raise RuntimeError("no")

    hooks.register_hook("post-task", bad, owner="bad")
    hooks.register_hook("post-task", lambda context, memory, config: seen.append("next"))
    await hooks.execute(post_task())
    assert seen == ["next"]
    assert "a hook of bad for post-task failed" in caplog.text


async def test_a_hook_that_calls_sys_exit_ends_neither_the_program_nor_the_next_hook(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks, seen = service(Remembered()), list[str]()

    async def leaves(
        context: HookContext, memory: HookMemory, config: CoordinationSettings
    ) -> None:
        sys.exit(3)

    hooks.register_hook("workflow", leaves, owner="bad")
    hooks.register_hook("workflow", lambda context, memory, config: sys.exit("bye"), owner="worse")
    hooks.register_hook("workflow", lambda context, memory, config: seen.append("next"))
    await hooks.execute(HookContext("workflow"))
    assert seen == ["next"]
    assert caplog.text.count("for workflow failed") == 2


@pytest.mark.parametrize(
    ("event", "off"),
    [
        ("session-start", HookSettings(session_start=False)),
        ("session-end", HookSettings(session_end=False)),
        ("pre-task", HookSettings(pre_task=False)),
        ("post-task", HookSettings(post_task=False)),
    ],
)
async def test_agentstack_row_131_a_disabled_event_skips_built_in_and_custom_hooks(
    event: HookEvent, off: HookSettings
) -> None:
    memory, seen = Remembered(), list[str]()
    context = HookContext(event, session_id=SessionId("s"), task_id=TaskId("t"), agent_type="x")
    for settings in (off, HookSettings()):
        hooks = service(memory, settings)
        hooks.register_hook(event, lambda context, memory, config: seen.append("ran"))
        await hooks.execute(context)
        assert bool(seen) == bool(memory.entries) == (settings is not off)


async def test_a_hook_that_hangs_is_given_up_and_the_next_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks, seen = service(Remembered(), bound_s=0.05), list[str]()
    released = anyio.Event()

    async def hangs(context: HookContext, memory: HookMemory, config: CoordinationSettings) -> None:
        await released.wait()

    def blocks(context: HookContext, memory: HookMemory, config: CoordinationSettings) -> None:
        time.sleep(0.3)

    hooks.register_hook("workflow", hangs)
    hooks.register_hook("workflow", blocks)
    hooks.register_hook("workflow", lambda context, memory, config: seen.append("next"))
    await hooks.execute(HookContext("workflow"))
    assert seen == ["next"]
    assert caplog.text.count("was given up after 0.05 s") == 2


async def test_a_hook_that_was_taken_back_is_not_called() -> None:
    hooks, seen = service(Remembered()), list[str]()
    take_back = hooks.register_hook("workflow", lambda c, m, s: seen.append("ran"))
    take_back()
    take_back()
    await hooks.execute(HookContext("workflow"))
    assert (seen, hooks.hooks("workflow")) == ([], ())


async def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(UsageError, match="Invalid hook event 'post-tusk'"):
        service(Remembered()).register_hook("post-tusk", lambda c, m, s: None)


async def test_a_failing_memory_never_reaches_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Remembered):
        async def store(self, key: str, content: str, **_: object) -> None:
            raise OSError("disk")

    await service(Broken()).execute(post_task())
    assert "the built-in hook for post-task failed" in caplog.text


async def test_tasks_are_remembered_and_the_next_one_of_their_type_is_told() -> None:
    memory = Remembered()
    hooks = service(memory)
    await hooks.execute(post_task("src/a.py"))
    context = HookContext("pre-task", task_id=TaskId("t2"), agent_type="coder")
    told = await hooks.execute(context)
    assert memory.asked == ["coder task"]
    previous = told.data["previousContext"]
    assert isinstance(previous, list)
    assert "src/a.py" in str(previous[0])
    assert set(memory.entries) == {("tasks", "task:t1:post"), ("tasks", "task:t2:pre")}
    assert "src/a.py" not in memory.entries["tasks", "task:t2:pre"]
    assert f'"timestamp": {NOW_MS}' in memory.entries["tasks", "task:t2:pre"]


async def test_secrets_are_taken_out_of_what_is_remembered() -> None:
    memory = Remembered()
    hooks = HookService(
        memory,
        settings=CoordinationSettings(),
        clock=SetClock(),
        redact=lambda text: text.replace("s3cret", "***"),
    )
    await hooks.execute(post_task("docs/s3cret.py"))
    assert "docs/***.py" in memory.entries["tasks", "task:t1:post"]


async def test_the_start_and_the_end_of_a_session_are_remembered() -> None:
    memory = Remembered()
    hooks = service(memory)
    await hooks.execute(HookContext("session-start", session_id=SessionId("s1")))
    await hooks.execute(HookContext("session-end", session_id=SessionId("s1")))
    await hooks.execute(HookContext("session-end"))
    assert list(memory.entries) == [
        ("sessions", "session:s1:start"),
        ("sessions", "session:s1:end"),
    ]


@pytest.mark.parametrize(
    ("path", "is_document"),
    [
        ("docs/a.rst", True),
        ("x/docs/y.py", True),
        ("README.md", True),
        ("page.mdx", True),
        ("a.py", False),
        ("mydocs/a.py", False),
    ],
)
def test_documentation_is_told_by_its_path(path: str, is_document: bool) -> None:
    assert touches_documents(post_task(path)) is is_document
    assert touches_documents(HookContext("workflow", data={"path": path})) is is_document


@dataclass
class Workflows:
    """Runs of workflows that end when they are let."""

    started: list[tuple[str, Mapping[str, JsonValue]]] = field(
        default_factory=list[tuple[str, Mapping[str, JsonValue]]]
    )
    go: anyio.Event = field(default_factory=anyio.Event)

    async def run(self, workflow: str, options: Mapping[str, JsonValue]) -> JsonValue:
        self.started.append((workflow, options))
        await self.go.wait()
        return {"id": f"report-{len(self.started)}", "verdict": "PASS"}


async def test_changed_documents_start_the_sync_once_until_it_is_done() -> None:
    memory, workflows = Remembered(), Workflows()
    hooks = HookService(
        memory, settings=CoordinationSettings(), clock=SetClock(), run_workflow=workflows.run
    )
    hooks.register_workflow_trigger(doc_sync_trigger())
    async with hooks:
        await hooks.execute(post_task("src/a.py"))
        await hooks.execute(post_task("docs/a.md"))
        await hooks.execute(post_task("docs/b.md"))
        await until(lambda: len(workflows.started) == 1)
        workflows.go.set()
        await until(lambda: ("workflows", "workflow-report-report-1") in memory.entries)
        await hooks.execute(post_task("docs/b.md"))
        await until(lambda: len(workflows.started) == 2)
    assert [workflow for workflow, _ in workflows.started] == ["doc-sync", "doc-sync"]
    hooks.clear_workflow_triggers()
    assert hooks.workflow_triggers == ()


async def test_a_workflow_event_runs_what_its_triggers_ask_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    workflows = Workflows()
    workflows.go.set()
    hooks = HookService(
        Remembered(), settings=CoordinationSettings(), clock=SetClock(), run_workflow=workflows.run
    )

    def broken(context: HookContext) -> bool:
        raise KeyError("data")

    hooks.register_workflow_trigger(WorkflowTrigger("x", "X", broken, "never"))
    options: dict[str, JsonValue] = {"maxIterations": 3}
    trigger = WorkflowTrigger(
        "auto", "Auto", lambda context: context.data.get("changed") is True, "sync", options
    )
    hooks.register_workflow_trigger(trigger)
    async with hooks:
        await hooks.execute(HookContext("workflow"))
        await hooks.execute(HookContext("workflow", data={"changed": True}))
    assert workflows.started == [("sync", options)]
    assert "the condition of the trigger x failed" in caplog.text


async def test_a_workflow_that_does_not_end_is_cancelled_when_the_program_ends() -> None:
    memory, workflows = Remembered(), Workflows()
    hooks = HookService(
        memory,
        settings=CoordinationSettings(),
        clock=SetClock(),
        run_workflow=workflows.run,
        closing_s=0.05,
    )
    hooks.register_workflow_trigger(doc_sync_trigger())
    with anyio.fail_after(10):
        async with hooks:
            await hooks.execute(post_task("docs/a.md"))
            await until(lambda: len(workflows.started) == 1)
    assert [key for key in memory.entries if key[0] == "workflows"] == []


async def test_without_a_place_to_run_it_a_workflow_is_only_mentioned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    hooks = service(Remembered())
    hooks.register_workflow_trigger(doc_sync_trigger())
    await hooks.execute(post_task("docs/a.md"))
    assert "the workflow doc-sync cannot be run here" in caplog.text

"""Hooks over the real memory of a real database."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.domain.coordination import CoordinationSettings, MemorySettings
from perstack.domain.hooks import HookContext
from perstack.domain.ids import SessionId, TaskId
from perstack.domain.memory import Caller
from perstack.ports.system import Uuids
from perstack.services.handle import Handle
from perstack.services.hook_memory import MemoryForHooks
from perstack.services.hooks import TASKS, HookService
from perstack.services.memory import MemoryService
from perstack.storage.database.opener import open_memory_store
from tests.fakes.consensus import SetClock

pytestmark = pytest.mark.anyio


async def test_what_one_task_left_is_found_before_the_next_of_its_type(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SetClock()
    stores = Handle(lambda: open_memory_store(tmp_path / "x.db", clock=clock, ids=Uuids()))
    memory = MemoryForHooks(MemoryService(stores, settings=MemorySettings()))
    hooks = HookService(memory, settings=CoordinationSettings(), clock=clock)
    for number, agent_type in enumerate(["coder", "tester"]):
        context = HookContext(
            "post-task",
            SessionId("s1"),
            TaskId(f"t{number}"),
            agent_type,
            {"modifiedFiles": [f"{agent_type}.py"]},
        )
        await hooks.execute(context)
    told = await hooks.execute(HookContext("pre-task", SessionId("s2"), TaskId("t9"), "tester"))
    previous = told.data["previousContext"]
    assert isinstance(previous, list)
    assert len(previous) == 1
    assert "tester.py" in str(previous[0])
    assert caplog.text == ""
    await stores.aclose()


async def test_what_hooks_write_down_is_nobodys_word_and_only_the_newest_of_it_is_kept(
    database_target: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perstack.services.hook_memory.KEPT", 3)
    clock, ana = SetClock(), Caller("ana@desk")
    stores = Handle(lambda: open_memory_store(database_target, clock=clock, ids=Uuids()))
    memory = MemoryService(stores, settings=MemorySettings())
    hooks = HookService(MemoryForHooks(memory), settings=CoordinationSettings(), clock=clock)
    await memory.store(ana, "task:mine", "as I did it", namespace=TASKS)
    for number in range(3):
        for event in ("pre-task", "post-task"):
            clock.move(1)
            context = HookContext(event, None, TaskId(f"t{number}"), "coder", {"prompt": "x"})
            await hooks.execute(context)
    page = await memory.list(ana, namespace=TASKS)
    assert [(one.key, one.origin.kind) for one in page.entries] == [
        ("task:t2:post", "system"),
        ("task:t2:pre", "system"),
        ("task:t1:post", "system"),
        ("task:mine", "person"),
    ]
    assert not await memory.has_term(ana, "t0", namespace=TASKS)
    await stores.aclose()

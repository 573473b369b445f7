"""Skills that a run does not wait for: `lazyInit`, and those whose tools a lock file lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.expert import BASE_SKILL, BaseSkill, McpHttpSkill
from perstack.errors import ConfigError, SkillError
from perstack.ports.skills import RunContext, ToolSpec
from perstack.skills.base.skill import NAMES
from perstack.skills.mcp.limits import ServerLimits
from perstack.skills.opener import Skills
from tests.fakes.mcp_http import mcp_http
from tests.unit.skills.support import (
    QUICK,
    Notices,
    context_for,
    expert_with,
    fake_skill,
    none_survive,
    processes_of,
    result,
    text,
    until,
)

pytestmark = pytest.mark.anyio

SKILLS = Skills(QUICK)
IMPATIENT = Skills(ServerLimits(start_s=1.0, leave_s=0.2, grace_s=0.1))
TEXT: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
}


@dataclass(frozen=True)
class Lock:
    """A lock file in memory."""

    tools: Mapping[str, Sequence[ToolSpec]]

    def tools_of(self, skill_name: str) -> Sequence[ToolSpec] | None:
        return self.tools.get(skill_name)


def spec(name: str, description: str = "Says it again.") -> ToolSpec:
    return ToolSpec("fake", name, description, {**TEXT})


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return context_for(tmp_path)


@pytest.fixture
def locked(context: RunContext) -> RunContext:
    return replace(context, listed=Lock({"fake": [spec("echo")]}))


async def test_a_run_begins_before_a_lazy_skill_is_connected(
    context: RunContext, notices: Notices, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    skill = fake_skill("wait_for_marker", options=("--marker", str(gate))).model_copy(
        update={"lazy_init": True}
    )
    async with SKILLS.open(expert_with(fake=skill), context, notices) as skills:
        assert set(skills.tools) == NAMES
        assert result(await skills.call("attemptCompletion", {})) == {}
        assert "skillConnected" not in notices.of("fake")
        gate.touch()
        await skills.ready()
        assert notices.of("fake") == ["skillStarting", "skillConnected"]
        assert {"echo", "record"} < set(skills.tools)
        assert text(await skills.call("echo", {"text": "x"})) == "x"
        await skills.ready()
    await none_survive(context.run_id)


async def test_names_do_not_depend_on_who_was_ready_first(context: RunContext) -> None:
    late = fake_skill(options=("--tools", "echo")).model_copy(update={"lazy_init": True})
    eager = fake_skill(options=("--tools", "echo,record"))
    async with SKILLS.open(expert_with(late=late, eager=eager), context, Notices()) as skills:
        await skills.ready()
        owners = {name: tool.skill_name for name, tool in skills.tools.items()}
    assert owners["echo"] == "late"
    assert (owners["eager__echo"], owners["record"]) == ("eager", "eager")


@pytest.mark.parametrize("fault", ["crash_start", "crash_init", "crash_list"])
async def test_a_lazy_skill_that_fails_is_told_when_it_is_needed(
    context: RunContext, notices: Notices, fault: str
) -> None:
    skill = fake_skill(fault).model_copy(update={"lazy_init": True})
    async with SKILLS.open(expert_with(fake=skill), context, notices) as skills:
        for _ in range(2):
            with pytest.raises(SkillError, match="Skill fake could not be started"):
                await skills.ready()
        assert result(await skills.call("attemptCompletion", {})) == {}
    assert notices.of("fake") == ["skillStarting"]


async def test_a_lazy_skill_is_waited_for_only_so_long(context: RunContext) -> None:
    skill = fake_skill("hang_init").model_copy(update={"lazy_init": True})
    async with IMPATIENT.open(expert_with(fake=skill), context, Notices()) as skills:
        with anyio.fail_after(10), pytest.raises(SkillError, match="not ready within 1 s"):
            await skills.ready()


async def test_a_lazy_skill_without_a_gated_tool_is_refused_when_it_is_needed(
    context: RunContext,
) -> None:
    skill = fake_skill(require_approval=("ehco",)).model_copy(update={"lazy_init": True})
    async with SKILLS.open(expert_with(fake=skill), context, Notices()) as skills:
        with pytest.raises(SkillError, match="requireApproval of skill fake names ehco"):
            await skills.ready()


async def test_a_run_that_ends_before_a_lazy_skill_is_ready_leaves_nothing(
    context: RunContext,
) -> None:
    skill = fake_skill("hang_init", "orphan", "ignore_sigterm", "ignore_eof").model_copy(
        update={"lazy_init": True}
    )
    with anyio.fail_after(10):
        async with SKILLS.open(expert_with(fake=skill), context, Notices()):
            await until(lambda: len(processes_of(context.run_id)) >= 3)
    await none_survive(context.run_id)


async def test_a_remote_skill_can_be_lazy(context: RunContext, notices: Notices) -> None:
    async with mcp_http() as server:
        skill = McpHttpSkill(endpoint=f"{server.url}/mcp", allow_private=True, lazy_init=True)
        async with SKILLS.open(expert_with(far=skill), context, notices) as skills:
            assert "echo" not in skills.tools
            await skills.ready()
            assert text(await skills.call("echo", {"text": "x"})) == "x"
        assert server.sessions == set()


async def test_listed_tools_are_there_at_once_and_their_server_from_the_first_call(
    locked: RunContext, notices: Notices
) -> None:
    async with SKILLS.open(expert_with(fake=fake_skill()), locked, notices) as skills:
        await skills.ready()
        assert set(skills.tools) == {*NAMES, "echo"}
        assert skills.tools["echo"].input_schema == TEXT
        assert "do not fit" in text(await skills.call("echo", {"text": 7}))
        assert notices.of("fake") == []
        assert processes_of(locked.run_id) == []
        assert text(await skills.call("echo", {"text": "x"})) == "x"
        assert text(await skills.call("echo", {"text": "y"})) == "y"
    assert notices.of("fake") == ["skillStarting", "skillConnected", "skillDisconnected"]


async def test_a_tool_that_the_lock_describes_otherwise_is_not_called(
    context: RunContext, tmp_path: Path
) -> None:
    effects = tmp_path / "effects.txt"
    listed = Lock({"fake": [spec("record", "Once did something else."), spec("echo")]})
    skill = fake_skill(options=("--effects", str(effects)))
    locked = replace(context, listed=listed)
    async with SKILLS.open(expert_with(fake=skill), locked, Notices()) as skills:
        told = [await skills.call("record", {"text": "x"}) for _ in range(2)]
        assert text(await skills.call("echo", {"text": "y"})) == "y"
    assert all(outcome.is_error for outcome in told)
    assert all("the lock is stale" in text(outcome) for outcome in told)
    assert all("`perstack install`" in text(outcome) for outcome in told)
    assert not effects.exists()


async def test_a_tool_that_is_gone_since_the_lock_was_written_is_not_called(
    context: RunContext,
) -> None:
    locked = replace(context, listed=Lock({"fake": [spec("vanished")]}))
    async with SKILLS.open(expert_with(fake=fake_skill()), locked, Notices()) as skills:
        outcome = await skills.call("vanished", {"text": "x"})
    assert outcome.is_error
    assert "the lock is stale" in text(outcome)


async def test_a_server_that_crashes_after_a_lock_is_pinned_like_any_other(
    locked: RunContext, tmp_path: Path
) -> None:
    skill = fake_skill(
        "crash_after_reply", "rug_pull", options=("--marker", str(tmp_path / "marker"))
    )
    notices = Notices()
    async with SKILLS.open(expert_with(fake=skill), locked, notices) as skills:
        assert text(await skills.call("echo", {"text": "x"})) == "x"
        await until(lambda: notices.of("fake")[-1] == "skillDisconnected")
        changed = await skills.call("echo", {"text": "x"})
    assert "now defines this tool differently" in text(changed)


async def test_a_listed_server_that_cannot_start_is_an_error_of_the_call_and_given_up(
    locked: RunContext, notices: Notices
) -> None:
    async with SKILLS.open(expert_with(fake=fake_skill("crash_start")), locked, notices) as skills:
        told = [await skills.call("echo", {"text": "x"}) for _ in range(5)]
        assert result(await skills.call("attemptCompletion", {})) == {}
    assert all(outcome.is_error for outcome in told)
    assert "cannot find the flux capacitor" in text(told[0])
    assert "is gone" in text(told[-1])
    assert notices.of("fake").count("skillStarting") == 4


async def test_pick_omit_and_approval_hold_for_listed_tools(context: RunContext) -> None:
    listed = Lock({"fake": [spec("echo"), spec("record"), spec("inspect")]})
    skill = fake_skill(pick=("echo", "record"), omit=("record",), require_approval=("echo",))
    locked = replace(context, listed=listed)
    async with SKILLS.open(expert_with(fake=skill), locked, Notices()) as skills:
        added = {name: tool.gated for name, tool in skills.tools.items() if name not in NAMES}
    assert added == {"echo": True}
    misspelt = fake_skill(require_approval=("ehco",))
    with pytest.raises(ConfigError, match="names ehco"):
        async with SKILLS.open(expert_with(fake=misspelt), locked, Notices()):
            pytest.fail("opened")


async def test_listed_tools_never_pose_as_base_tools_and_know_their_own_name(
    context: RunContext,
) -> None:
    listed = Lock({"fake": [spec("exec")], BASE_SKILL: [spec("attemptCompletion", "Never.")]})
    expert = expert_with(base=BaseSkill(omit=("exec",)), fake=fake_skill("shadow"))
    locked = replace(context, listed=listed)
    async with SKILLS.open(expert, locked, Notices()) as skills:
        assert skills.tools["fake__exec"].own_name == "exec"
        assert skills.tools["attemptCompletion"].description != "Never."


async def test_a_skill_that_the_lock_does_not_list_is_connected_as_ever(
    locked: RunContext, notices: Notices
) -> None:
    expert = expert_with(fake=fake_skill(), other=fake_skill(options=("--tools", "record")))
    async with SKILLS.open(expert, locked, notices) as skills:
        assert skills.tools["record"].skill_name == "other"
        assert notices.of("fake") == []
        assert notices.of("other") == ["skillStarting", "skillConnected"]


async def test_calls_at_once_start_a_listed_server_once(
    locked: RunContext, notices: Notices
) -> None:
    async with (
        SKILLS.open(expert_with(fake=fake_skill()), locked, notices) as skills,
        anyio.create_task_group() as group,
    ):
        for _ in range(8):
            group.start_soon(skills.call, "echo", {"text": "x"})
    assert notices.of("fake").count("skillStarting") == 1

"""A base skill that is a program of its own (a stand-in on this machine)."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from perstack.domain.expert import BASE_SKILL, BaseSkill, McpStdioSkill
from perstack.domain.messages import ImageInlinePart
from perstack.domain.server_events import SkillConnected
from perstack.domain.settings import ExecSettings
from perstack.errors import ConfigError, SkillError
from perstack.ports.skills import RunContext
from perstack.skills.opener import Skills
from tests.unit.skills.support import (
    QUICK,
    Notices,
    context_for,
    expert_with,
    fake_skill,
    none_survive,
    result,
    text,
)

pytestmark = pytest.mark.anyio

SKILLS = Skills(QUICK)
SERVER = str(Path(__file__).parents[1] / "fakes" / "base_server.py")
COMMAND = (sys.executable, "-S", SERVER)
PIXEL = base64.b64decode("R0lGODlhAQABAAAAACw=")


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return replace(context_for(tmp_path), base_skill_command=COMMAND)


def pinned(**settings: tuple[str, ...]) -> McpStdioSkill:
    return McpStdioSkill(command=COMMAND[0], args=COMMAND[1:]).model_copy(update=settings)


async def test_a_command_for_the_base_skill_takes_its_place(
    context: RunContext, notices: Notices, tmp_path: Path
) -> None:
    async with SKILLS.open(expert_with(), context, notices) as skills:
        assert list(skills.tools) == [
            "attemptCompletion",
            "healthCheck",
            "exec",
            "readImageFile",
            "extra",
        ]
        assert {tool.skill_name for tool in skills.tools.values()} == {BASE_SKILL}
        health = result(await skills.call("healthCheck", {}))
        assert health == {"status": "ok", "workspace": str(tmp_path)}
        assert result(await skills.call("attemptCompletion", {})) == {}
        assert text(await skills.call("todo", {})) == "Tool todo not found"
    assert notices.of(BASE_SKILL) == ["skillStarting", "skillConnected", "skillDisconnected"]
    connected = notices[1]
    assert isinstance(connected, SkillConnected)
    assert connected.total_duration_ms > 0
    await none_survive(context.run_id)


async def test_a_pinned_base_skill_is_started_and_never_lazy(
    tmp_path: Path, notices: Notices
) -> None:
    skill = pinned().model_copy(update={"lazy_init": True})
    expert = expert_with(**{BASE_SKILL: skill})
    async with SKILLS.open(expert, context_for(tmp_path), notices) as skills:
        assert notices.of(BASE_SKILL) == ["skillStarting", "skillConnected"]
        assert "healthCheck" in skills.tools


@pytest.mark.parametrize(
    "settings",
    [
        {
            BASE_SKILL: BaseSkill(
                pick=("exec", "extra"), omit=("extra",), require_approval=("exec",)
            )
        },
        {BASE_SKILL: pinned(pick=("exec", "extra"), omit=("extra",), require_approval=("exec",))},
    ],
    ids=["narrowed", "pinned"],
)
async def test_what_narrows_the_built_in_base_skill_narrows_the_other_too(
    context: RunContext, settings: dict[str, BaseSkill | McpStdioSkill]
) -> None:
    async with SKILLS.open(expert_with(**settings), context, Notices()) as skills:
        assert {name: tool.gated for name, tool in skills.tools.items()} == {"exec": True}


async def test_no_server_poses_as_a_base_tool_also_beside_another_base_skill(
    context: RunContext,
) -> None:
    expert = expert_with(**{BASE_SKILL: BaseSkill(omit=("exec",))}, fake=fake_skill("shadow"))
    async with SKILLS.open(expert, context, Notices()) as skills:
        assert skills.tools["attemptCompletion"].skill_name == BASE_SKILL
        assert "exec" not in skills.tools
        assert skills.tools["fake__exec"].skill_name == "fake"
        assert skills.tools["fake__readTextFile"].skill_name == "fake"


async def test_a_picture_is_shown_in_place_of_its_path(context: RunContext, tmp_path: Path) -> None:
    (tmp_path / "pixel.gif").write_bytes(PIXEL)
    async with SKILLS.open(expert_with(), context, Notices()) as skills:
        shown = await skills.call("readImageFile", {"path": "pixel.gif"})
        absent = await skills.call("readImageFile", {"path": "no.gif"})
        outside = await skills.call("readImageFile", {"path": "/etc/passwd"})
    encoded = base64.b64encode(PIXEL).decode()
    assert shown.parts == (ImageInlinePart(encoded_data=encoded, mime_type="image/gif"),)
    assert absent.is_error
    assert text(absent).startswith('Failed to read file "no.gif": ')
    assert outside.is_error
    assert "root" not in text(outside)


async def test_a_base_skill_that_cannot_start_is_named(tmp_path: Path) -> None:
    context = replace(context_for(tmp_path), base_skill_command=("no-such-command",))
    with pytest.raises(SkillError, match=r"^Skill @perstack/base could not be started"):
        async with SKILLS.open(expert_with(), context, Notices()):
            pytest.fail("opened")


async def test_a_sandbox_is_never_left_out_by_another_base_skill(context: RunContext) -> None:
    shut_in = replace(context, exec=ExecSettings(sandbox="bubblewrap"))
    with pytest.raises(ConfigError, match="The sandbox of exec is the built-in base skill's"):
        async with SKILLS.open(expert_with(), shut_in, Notices()):
            pytest.fail("opened")
    without = expert_with(**{BASE_SKILL: BaseSkill(omit=("exec",))})
    async with SKILLS.open(without, shut_in, Notices()) as skills:
        assert json.loads(text(await skills.call("healthCheck", {})))["status"] == "ok"

"""Servers that say too much, twice, late, or in odd ways (M5 to M7, M9, M10, M13, M18)."""

from __future__ import annotations

from pathlib import Path

import anyio
import psutil
import pytest

from perstack.domain.messages import FileInlinePart, ImageInlinePart, TextPart
from perstack.domain.server_events import SkillConnected
from perstack.errors import SkillError
from perstack.ports.skills import RunContext
from perstack.skills.base.skill import NAMES
from perstack.skills.mcp.limits import ServerLimits
from perstack.skills.opener import Skills
from tests.unit.skills.support import (
    QUICK,
    Notices,
    context_for,
    expert_with,
    fake_skill,
    none_survive,
    text,
)

pytestmark = pytest.mark.anyio

SKILLS = Skills(QUICK)
PATIENT = Skills(ServerLimits(leave_s=0.3, grace_s=0.1))


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return context_for(tmp_path)


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.mark.parametrize("fault", ["blank_lines", "dup_reply", "string_id", "flood_stdout"])
async def test_what_is_odd_but_can_be_understood_works(
    context: RunContext, notices: Notices, fault: str
) -> None:
    async with PATIENT.open(expert_with(fake=fake_skill(fault)), context, notices) as skills:
        for word in ("one", "two"):
            assert text(await skills.call("echo", {"text": word})) == word
        assert not (await skills.call("attemptCompletion", {})).is_error
    assert len(notices.stderr()) == (1 if fault == "flood_stdout" else 0)


async def test_a_reply_that_comes_too_late_is_nobodys(context: RunContext) -> None:
    async with SKILLS.open(
        expert_with(fake=fake_skill("late_reply")), context, Notices()
    ) as skills:
        late = await skills.call("echo", {"text": "one"})
        good = await skills.call("echo", {"text": "two"})
    assert "no answer within 0.4 s" in text(late)
    assert text(good) == "two"


async def test_a_line_without_an_end_ends_the_server_and_not_the_memory(
    context: RunContext, notices: Notices
) -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    async with PATIENT.open(expert_with(fake=fake_skill("huge_line")), context, notices) as skills:
        with anyio.fail_after(30):
            outcome = await skills.call("echo", {"text": "x"})
    assert outcome.is_error
    assert "it sent a message of more than 67,108,864 bytes" in notices.stderr()
    assert process.memory_info().rss - before < 300_000_000
    await none_survive(context.run_id)


async def test_an_answer_of_a_million_values_is_refused_before_it_is_read(
    context: RunContext, notices: Notices
) -> None:
    """Reading 60 MB of them would stop everything for twenty seconds."""
    async with PATIENT.open(
        expert_with(fake=fake_skill("many_values")), context, notices
    ) as skills:
        outcome = await skills.call("echo", {"text": "x"})
    assert outcome.is_error
    assert "it sent a message of more than 250,000 values" in notices.stderr()


async def test_five_thousand_tools_become_a_thousand_and_one_notice(
    context: RunContext, notices: Notices
) -> None:
    async with PATIENT.open(expert_with(fake=fake_skill("many_tools")), context, notices) as skills:
        assert len(skills.tools) == len(NAMES) + 1_000
        assert text(await skills.call("echo", {"text": "x"})) == "x"
    [line] = notices.stderr()
    assert line.startswith("only the first 1,000 of 5,0")


async def test_a_huge_schema_costs_the_tool_alone(context: RunContext, notices: Notices) -> None:
    async with PATIENT.open(
        expert_with(fake=fake_skill("huge_schema")), context, notices
    ) as skills:
        assert "huge" not in skills.tools
        assert text(await skills.call("echo", {"text": "x"})) == "x"
    assert "the tool huge was left out: its schema is longer" in notices.stderr()[0]


async def test_a_server_that_announces_no_tools_may_have_some(context: RunContext) -> None:
    async with SKILLS.open(expert_with(fake=fake_skill("no_caps")), context, Notices()) as skills:
        assert text(await skills.call("echo", {"text": "x"})) == "x"


async def test_a_protocol_that_nobody_knows_is_named(context: RunContext, notices: Notices) -> None:
    with pytest.raises(SkillError, match=r"its handshake failed: .*1999-12-31"):
        async with SKILLS.open(expert_with(fake=fake_skill("version")), context, notices):
            pytest.fail("opened")
    assert not any(isinstance(each, SkillConnected) for each in notices[1:])


async def test_pictures_are_what_they_are_and_not_what_they_are_said_to_be(
    context: RunContext,
) -> None:
    """One picture that a vendor refuses would make it refuse the whole conversation."""
    async with SKILLS.open(
        expert_with(fake=fake_skill("bad_pictures")), context, Notices()
    ) as skills:
        parts = (await skills.call("echo", {"text": "x"})).parts
    gif = ImageInlinePart(encoded_data="R0lGODlhAQABAAAAACw=", mime_type="image/gif")
    assert parts == (
        gif,
        FileInlinePart(encoded_data="AAAA", mime_type="image/tiff"),
        TextPart(text="(image/png that is not valid base64)"),
        FileInlinePart(encoded_data="JVBERi0=", mime_type="application/pdf"),
        gif,
        FileInlinePart(encoded_data="AAAA", mime_type="application/octet-stream"),
        TextPart(text="(audio that is too large to be passed on: audio/wav)"),
    )

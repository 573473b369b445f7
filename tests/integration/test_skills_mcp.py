"""MCP skills against a real server process: what the model gets, and what it never may."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import psutil
import pytest
from pydantic import JsonValue

from perstack.domain.expert import BASE_SKILL, BaseSkill, McpStdioSkill
from perstack.domain.messages import FileInlinePart, ImageInlinePart, ResourceLinkPart, TextPart
from perstack.domain.server_events import SkillConnected, SkillStarting
from perstack.errors import ConfigError
from perstack.ports.skills import RunContext
from perstack.skills.base.skill import NAMES
from perstack.skills.mcp.limits import ServerLimits
from perstack.skills.opener import Skills
from perstack.skills.text import MAX_TEXT_CHARS
from tests.unit.skills.support import (
    QUICK,
    Notices,
    context_for,
    expert_with,
    fake_skill,
    result,
    text,
)

pytestmark = pytest.mark.anyio

SKILLS = Skills(QUICK)
CANARIES = {f"CANARY_{number}": f"canary-{number}" for number in range(30)}


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return context_for(tmp_path)


async def test_an_expert_without_skills_has_the_base_tools(
    context: RunContext, notices: Notices
) -> None:
    async with SKILLS.open(expert_with(), context, notices) as skills:
        assert set(skills.tools) == NAMES
        assert {tool.skill_name for tool in skills.tools.values()} == {BASE_SKILL}
        assert result(await skills.call("attemptCompletion", {})) == {}
        assert text(await skills.call("no_such_tool", {})) == "Tool no_such_tool not found"
    [connected] = notices
    assert isinstance(connected, SkillConnected)
    assert (connected.skill_name, connected.spawn_duration_ms) == (BASE_SKILL, 0)


async def test_approval_of_a_tool_that_is_not_there_is_refused(
    context: RunContext, notices: Notices
) -> None:
    misspelt = expert_with(**{BASE_SKILL: BaseSkill(require_approval=("exce",))})
    with pytest.raises(ConfigError, match="names exce"):
        async with SKILLS.open(misspelt, context, notices):
            pytest.fail("opened")
    server = expert_with(fake=fake_skill(require_approval=("ehco",)))
    with pytest.raises(ConfigError, match="requireApproval of skill fake names ehco"):
        async with SKILLS.open(server, context, notices):
            pytest.fail("opened")


async def test_a_server_is_announced_called_and_closed_in_order(
    context: RunContext, notices: Notices, tmp_path: Path
) -> None:
    effects = tmp_path / "effects.txt"
    skill = fake_skill(options=("--effects", str(effects)))
    async with SKILLS.open(expert_with(fake=skill), context, notices) as skills:
        assert next(iter(skills.tools)) in NAMES
        assert skills.tools["echo"].skill_name == "fake"
        assert skills.tools["echo"].description == "Says it again."
        assert skills.tools["echo"].input_schema["required"] == ["text"]
        assert not skills.tools["echo"].repeatable
        assert text(await skills.call("echo", {"text": "hello"})) == "hello"
        assert text(await skills.call("record", {"text": "once"})) == "recorded"
        assert "example.com" in text(await skills.call("web_search_exa", {"query": "x"}))
        assert notices.of("fake") == ["skillStarting", "skillConnected"]
    assert effects.read_text() == "once\n"
    assert notices.of("fake") == ["skillStarting", "skillConnected", "skillDisconnected"]
    starting, connected = notices[1], notices[2]
    assert isinstance(starting, SkillStarting)
    assert starting.command == skill.command
    assert isinstance(connected, SkillConnected)
    assert connected.server_info is not None
    assert (connected.server_info.name, connected.server_info.version) == ("fake", "1.2.3")
    assert connected.total_duration_ms >= connected.connect_duration_ms > 0


async def test_only_the_allow_list_and_what_is_required_reaches_a_server(tmp_path: Path) -> None:
    env = CANARIES | {"NEEDED": "value", "ANTHROPIC_API_KEY": "sk-ant", "LD_PRELOAD": ""}
    context = context_for(tmp_path, env=env)
    skill = fake_skill(required_env=("NEEDED", "PATH"))
    async with SKILLS.open(expert_with(fake=skill), context, Notices()) as skills:
        names = set(json.loads(text(await skills.call("env_names", {}))))
    allowed = {"PATH", "HOME", "SHELL", "TERM", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE"}
    allowed |= {name for name in names if name.startswith(("SSL_CERT_", "NODE_EXTRA_CA_"))}
    allowed |= {name for name in names if name.endswith("_CA_BUNDLE")}
    marks = {"PERSTACK_RUN_ID", "PERSTACK_JOB_ID", "PERSTACK_PROCESS"}
    assert names <= allowed | marks | {"NEEDED"}
    assert {"NEEDED", "PATH", "PERSTACK_RUN_ID", "PERSTACK_JOB_ID"} <= names


async def test_a_server_runs_in_the_workspace_with_three_descriptors_and_its_own_group(
    context: RunContext, tmp_path: Path
) -> None:
    async with SKILLS.open(expert_with(fake=fake_skill()), context, Notices()) as skills:
        told = json.loads(text(await skills.call("inspect", {})))
    assert told == {"cwd": str(tmp_path), "fds": [0, 1, 2], "group_is_own": True}


async def test_without_a_host_what_a_server_asks_is_refused_but_for_its_root(
    context: RunContext,
) -> None:
    skill = fake_skill("ask_client")
    async with SKILLS.open(expert_with(fake=skill), context, Notices()) as skills:
        told = json.loads(text(await skills.call("ask_client", {})))
    assert told == [-32600, -32600, "allowed", -32601]


@pytest.mark.parametrize("value", [None, ""])
async def test_a_required_variable_that_is_not_set_starts_nothing(
    tmp_path: Path, notices: Notices, value: str | None
) -> None:
    context = context_for(tmp_path, env={} if value is None else {"NEEDED": value})
    skill = fake_skill(required_env=("NEEDED",))
    with pytest.raises(ConfigError, match=r"^Skill fake requires environment variable NEEDED$"):
        async with SKILLS.open(expert_with(fake=skill), context, notices):
            pass
    assert notices.of("fake") == []


@pytest.mark.parametrize(
    ("skill", "problem"),
    [
        (McpStdioSkill(command="npx"), "Skill bad has no packageName or args"),
        (
            McpStdioSkill(command="npx", package_name="x", args=("y",)),
            "Skill bad has both packageName and args",
        ),
    ],
)
async def test_an_incomplete_command_is_a_configuration_error(
    context: RunContext, skill: McpStdioSkill, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        async with SKILLS.open(expert_with(bad=skill), context, Notices()):
            pass


async def test_pick_omit_and_approval_shape_what_a_server_offers(context: RunContext) -> None:
    skill = fake_skill(
        pick=("echo", "record", "think"), omit=("record",), require_approval=("echo",)
    )
    async with SKILLS.open(expert_with(fake=skill), context, Notices()) as skills:
        offered = {name: spec.gated for name, spec in skills.tools.items() if name not in NAMES}
        assert offered == {"echo": True}
        assert (await skills.call("record", {"text": "x"})).is_error


async def test_no_server_replaces_a_base_tool_even_one_that_is_omitted(
    context: RunContext,
) -> None:
    expert = expert_with(base=BaseSkill(omit=("exec",)), fake=fake_skill("shadow"))
    async with SKILLS.open(expert, context, Notices()) as skills:
        assert "exec" not in skills.tools
        assert skills.tools["readTextFile"].skill_name == BASE_SKILL
        assert skills.tools["attemptCompletion"].skill_name == BASE_SKILL
        assert skills.tools["fake__exec"].skill_name == "fake"
        assert text(await skills.call("fake__exec", {})) == "exec"
        assert result(await skills.call("attemptCompletion", {})) == {}


async def test_the_later_of_two_equal_names_carries_its_skill(context: RunContext) -> None:
    one = fake_skill(options=("--tools", "echo"), require_approval=("echo",))
    two = fake_skill(options=("--tools", "echo"))
    expert = expert_with(**{"first": one, "the second!": two})
    async with SKILLS.open(expert, context, Notices()) as skills:
        added = {
            name: (spec.skill_name, spec.gated)
            for name, spec in skills.tools.items()
            if name not in NAMES
        }
        assert added == {"echo": ("first", True), "the_second___echo": ("the second!", False)}
        assert text(await skills.call("the_second___echo", {"text": "2"})) == "2"


async def test_a_tool_listed_twice_counts_once(context: RunContext, notices: Notices) -> None:
    async with SKILLS.open(expert_with(fake=fake_skill("dup_names")), context, notices) as skills:
        assert skills.tools["echo"].description == "Says it again."
    assert notices.stderr() == ["the tool echo was listed twice; the first one is used"]


async def test_bad_tools_are_left_out_and_the_others_work(
    context: RunContext, notices: Notices
) -> None:
    skill = fake_skill("odd_names", "bad_schema")
    async with SKILLS.open(expert_with(fake=skill), context, notices) as skills:
        assert text(await skills.call("echo", {"text": "x"})) == "x"
        assert text(await skills.call("empty_schema", {})) == "empty_schema"
        assert skills.tools["no_schema"].input_schema == {"type": "object"}
        assert "broken_schema" not in skills.tools
        assert all(len(name) <= 64 and name.strip() for name in skills.tools)
    assert len([line for line in notices.stderr() if "was left out" in line]) == 6


async def test_tools_that_a_server_says_have_changed_stay_as_they_were_listed(
    context: RunContext, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    skill = fake_skill("rug_pull", options=("--marker", str(marker)))
    async with SKILLS.open(expert_with(fake=skill), context, Notices()) as skills:
        before = dict(skills.tools)
        marker.touch()
        changed: JsonValue = [{"method": "notifications/tools/list_changed", "params": {}}]
        assert text(await skills.call("tell", {"messages": changed})) == "told"
        assert text(await skills.call("echo", {"text": "x"})) == "x"
        assert skills.tools == before


async def test_all_pages_of_tools_are_used(context: RunContext) -> None:
    async with SKILLS.open(expert_with(fake=fake_skill("pages")), context, Notices()) as skills:
        assert {"echo", "record", "web_search_exa"} <= set(skills.tools)


async def test_endless_pages_end(context: RunContext, notices: Notices) -> None:
    skill = fake_skill("endless_pages")
    async with SKILLS.open(expert_with(fake=skill), context, notices) as skills:
        assert "page_49" in skills.tools
        assert "page_50" not in skills.tools
    assert "more than 50 pages" in notices.stderr()[0]


@pytest.mark.parametrize(
    "args", [{}, {"text": 7}, {"text": None}, {"text": ["x"]}], ids=["none", "int", "null", "list"]
)
async def test_arguments_that_do_not_fit_never_reach_the_server(
    context: RunContext, tmp_path: Path, args: dict[str, JsonValue]
) -> None:
    effects = tmp_path / "effects.txt"
    skill = fake_skill(options=("--effects", str(effects)))
    async with SKILLS.open(expert_with(fake=skill), context, Notices()) as skills:
        outcome = await skills.call("record", args)
    assert outcome.is_error
    assert "the arguments do not fit: $" in text(outcome)
    assert not effects.exists()


async def test_a_pattern_that_takes_years_takes_no_time(context: RunContext) -> None:
    skill = fake_skill("bad_pattern")
    async with SKILLS.open(expert_with(fake=skill), context, Notices()) as skills:
        with anyio.fail_after(10):
            outcome = await skills.call("evil", {"text": "a" * 60 + "b"})
    assert not outcome.is_error


async def test_half_a_character_can_be_sent(context: RunContext) -> None:
    async with SKILLS.open(expert_with(fake=fake_skill()), context, Notices()) as skills:
        outcome = await skills.call("echo", {"text": "a\ud800b"})
    text(outcome).encode()


async def test_what_a_tool_calls_an_error_is_one(context: RunContext) -> None:
    async with SKILLS.open(expert_with(fake=fake_skill("is_error")), context, Notices()) as skills:
        outcome = await skills.call("echo", {"text": "x"})
    assert outcome.is_error
    assert text(outcome) == "it failed"


async def test_a_protocol_error_is_told(context: RunContext) -> None:
    async with SKILLS.open(expert_with(fake=fake_skill("rpc_error")), context, Notices()) as skills:
        outcome = await skills.call("echo", {"text": "x"})
    assert outcome.is_error
    assert text(outcome) == "Error calling tool echo: no such luck"


async def test_an_answer_that_is_not_what_was_declared_is_an_error(context: RunContext) -> None:
    skill = fake_skill("structured_mismatch")
    async with SKILLS.open(expert_with(fake=skill), context, Notices()) as skills:
        outcome = await skills.call("typed", {})
        assert not (await skills.call("echo", {"text": "x"})).is_error
    assert outcome.is_error
    assert "not what it declares: $.n: 'seven'" in text(outcome)


async def test_nothing_is_told_as_nothing(context: RunContext) -> None:
    skill = fake_skill("no_content")
    async with SKILLS.open(expert_with(fake=skill), context, Notices()) as skills:
        outcome = await skills.call("echo", {"text": "x"})
    assert text(outcome) == 'Tool echo returned nothing with arguments: {"text": "x"}'


async def test_every_kind_of_content_becomes_a_part(context: RunContext) -> None:
    skill = fake_skill("odd_content")
    async with SKILLS.open(expert_with(fake=skill), context, Notices()) as skills:
        parts = (await skills.call("echo", {"text": "x"})).parts
    assert parts == (
        TextPart(text="Error: No content"),
        ImageInlinePart(encoded_data="R0lGODlhAQABAAAAACw=", mime_type="image/gif"),
        FileInlinePart(encoded_data="UklGRg==", mime_type="audio/wav"),
        ResourceLinkPart(uri="file:///x", name="x", description="d"),
        TextPart(text="inside"),
        FileInlinePart(encoded_data="JVBERi0=", mime_type="application/pdf"),
    )


async def test_a_huge_result_is_cut_and_says_so(context: RunContext) -> None:
    skill = fake_skill("huge_result")
    limits = ServerLimits(call_s=30.0)
    before = psutil.Process().memory_info().rss
    async with Skills(limits).open(expert_with(fake=skill), context, Notices()) as skills:
        told = text(await skills.call("echo", {"text": "x"}))
    assert psutil.Process().memory_info().rss - before < 400_000_000
    assert "200,000 of 50,000,000 characters are shown" in told
    assert len(told) < MAX_TEXT_CHARS + 200


async def test_what_a_server_prints_in_between_is_told_once(
    context: RunContext, notices: Notices
) -> None:
    async with SKILLS.open(expert_with(fake=fake_skill("noise")), context, notices) as skills:
        for word in ("one", "two"):
            assert text(await skills.call("echo", {"text": word})) == word
    assert len(notices.stderr()) == 1
    assert "welcome to noise 1.0" in notices.stderr()[0]


async def test_a_flood_on_standard_error_holds_up_nothing_and_is_capped(
    context: RunContext, notices: Notices
) -> None:
    skill = fake_skill("flood_stderr")
    async with SKILLS.open(expert_with(fake=skill), context, notices) as skills:
        assert text(await skills.call("echo", {"text": "x"})) == "x"
    lines = notices.stderr()
    assert len(lines) <= 202
    assert all(len(line) <= 2_000 for line in lines)
    assert "12,300 more lines were not kept" in lines[-1]


async def test_a_secret_in_what_a_server_lists_is_neither_shown_nor_sent(
    tmp_path: Path, notices: Notices
) -> None:
    context = context_for(tmp_path, env={"API_KEY": "sk-very-secret"})
    skill = fake_skill("secret_tools", required_env=("API_KEY",))
    async with SKILLS.open(expert_with(fake=skill), context, notices) as skills:
        assert skills.tools["echo"].description == "Uses [API_KEY]."
        assert skills.tools["keyed"].input_schema["properties"] == {
            "key": {"description": "not [API_KEY]", "default": 1}
        }
        assert "sk-very-secret" not in repr(skills.tools)
    assert "sk-very-secret" not in repr(notices)
    [connected] = [each for each in notices[1:] if isinstance(each, SkillConnected)]
    assert connected.server_info is not None
    assert connected.server_info.name == "of [API_KEY]"
    assert len(connected.server_info.version) == 300


async def test_a_secret_that_a_server_says_aloud_is_not_passed_on(
    tmp_path: Path, notices: Notices
) -> None:
    context = context_for(tmp_path, env={"API_KEY": "sk-very-secret"})
    skill = fake_skill("secret_stderr", required_env=("API_KEY",))
    async with SKILLS.open(expert_with(fake=skill), context, notices) as skills:
        echoed = text(await skills.call("echo", {"text": "key is sk-very-secret"}))
    assert notices.stderr() == ["using key [API_KEY]"]
    assert echoed == "key is [API_KEY]"


async def test_calls_at_once_get_their_own_answers(context: RunContext) -> None:
    told: dict[str, str] = {}
    async with SKILLS.open(expert_with(fake=fake_skill()), context, Notices()) as skills:

        async def ask(word: str) -> None:
            told[word] = text(await skills.call("echo", {"text": word}))

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(ask, str(number))
    assert told == {str(number): str(number) for number in range(20)}


async def test_an_error_of_the_run_itself_comes_out_as_it_is(
    context: RunContext, notices: Notices
) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with SKILLS.open(expert_with(fake=fake_skill()), context, notices):
            raise KeyError("mine")
    assert notices.of("fake")[-1] == "skillDisconnected"

"""How codex is started, and what it was told of a session's tokens before."""

from __future__ import annotations

import itertools
import json
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.expert import McpStdioSkill
from perstack.domain.runtimes import Permissions, ProgramSettings
from perstack.domain.usage import NO_USAGE, Usage
from perstack.runtimes.codex import Codex
from perstack.runtimes.codex_sessions import counted_before, home_of
from tests.unit.runtimes.talking import LEAD, talk_with

SESSION: Final = "01a2026b-b28c-7221-8a90-e27bee31eaac"


def settings_of(argv: tuple[str, ...]) -> dict[str, Any]:
    """What the options -c set, read as codex reads them."""
    lines = [after for option, after in itertools.pairwise(argv) if option == "-c"]
    return tomllib.loads("\n".join(lines))


def test_the_request_comes_on_standard_input_and_the_instruction_as_a_setting() -> None:
    made = Codex(ProgramSettings()).invocation(talk_with(model="gpt-5"))
    assert made.argv[:2] == ("codex", "exec")
    assert made.argv[-2:] == ("--", "-")
    assert made.argv[made.argv.index("-m") + 1] == "gpt-5"
    assert made.stdin == "Do it."
    assert settings_of(made.argv) == {
        "sandbox_mode": "workspace-write",
        "approval_policy": "never",
        "developer_instructions": "You are lead.",
    }


@pytest.mark.parametrize(
    ("permissions", "sandbox"),
    [("ask", "read-only"), ("edits", "workspace-write"), ("all", "danger-full-access")],
)
def test_permissions_choose_its_sandbox(permissions: Permissions, sandbox: str) -> None:
    made = Codex(ProgramSettings(permissions=permissions)).invocation(talk_with())
    assert settings_of(made.argv)["sandbox_mode"] == sandbox


def test_a_session_is_gone_on_with_and_left_alone_when_another_run_may_need_it() -> None:
    codex = Codex(ProgramSettings(command=("/opt/codex", "--verbose")))
    resumed = codex.invocation(talk_with(session=SESSION)).argv
    forked = codex.invocation(talk_with(session=SESSION, branch=True)).argv
    assert resumed[:4] == ("/opt/codex", "--verbose", "exec", "resume")
    assert forked[3] == "fork"
    for argv in (resumed, forked):
        assert argv[-3:] == ("--", SESSION, "-")
        assert "developer_instructions" not in settings_of(argv)


def test_what_was_said_before_is_part_of_the_request() -> None:
    made = Codex(ProgramSettings()).invocation(talk_with(past="User: hello"))
    assert "User: hello" in made.stdin
    assert made.stdin.endswith("Do it.")
    assert settings_of(made.argv)["developer_instructions"] == "You are lead."


def test_an_instruction_too_long_for_an_argument_is_part_of_the_request() -> None:
    long = LEAD.model_copy(update={"instruction": "é" * 60_000})
    made = Codex(ProgramSettings()).invocation(talk_with(expert=long))
    assert "developer_instructions" not in settings_of(made.argv)
    assert "é" * 60_000 in made.stdin
    assert made.stdin.endswith("## User Request\n\nDo it.")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda t: t.strip()))
def test_any_instruction_arrives_as_it_is(text: str) -> None:
    expert = LEAD.model_copy(update={"instruction": text})
    argv = Codex(ProgramSettings()).invocation(talk_with(expert=expert)).argv
    assert settings_of(argv)["developer_instructions"] == text.strip()
    assert not any("\0" in word for word in argv)


# ---------------------------------------------------------------- keys and models


def test_a_key_that_is_asked_for_reaches_it_by_both_names_and_no_argument() -> None:
    env = {"OPENAI_API_KEY": "sk-1", "CODEX_HOME": "/h", "ANTHROPIC_API_KEY": "sk-2"}
    made = Codex(ProgramSettings(env=("OPENAI_API_KEY",))).invocation(talk_with(env=env))
    assert made.env["CODEX_API_KEY"] == "sk-1"
    assert made.env["CODEX_HOME"] == "/h"
    assert "ANTHROPIC_API_KEY" not in made.env
    assert not any("sk-1" in word for word in made.argv)
    hidden = settings_of(made.argv)["shell_environment_policy"]["set"]
    assert hidden == {"OPENAI_API_KEY": "", "CODEX_API_KEY": ""}


def test_a_key_that_nobody_asked_for_is_not_passed() -> None:
    made = Codex(ProgramSettings()).invocation(talk_with(env={"OPENAI_API_KEY": "sk-1"}))
    assert not {"OPENAI_API_KEY", "CODEX_API_KEY"} & made.env.keys()


def test_another_vendors_model_is_not_named_and_that_is_said() -> None:
    talk = talk_with(model="claude-sonnet-4-5", provider="anthropic")
    codex = Codex(ProgramSettings())
    assert "-m" not in codex.invocation(talk).argv
    assert codex.dropped(talk) == ("model claude-sonnet-4-5 (it asks those of OpenAI)",)
    assert codex.dropped(talk_with(model="gpt-5")) == ()
    assert codex.questions(LEAD) == {}


def test_skills_that_it_does_not_get_are_said() -> None:
    skill = McpStdioSkill(command="npx", package_name="search")
    expert = LEAD.model_copy(update={"skills": {"web": skill}})
    (dropped,) = Codex(ProgramSettings()).dropped(talk_with(expert=expert))
    assert dropped.startswith("skill web")


# ---------------------------------------------------------------- what was used before


def used(tokens: int) -> str:
    total = {"input_tokens": tokens, "output_tokens": 1, "cached_input_tokens": 0}
    return event("token_count", info={"total_token_usage": total})


def event(kind: str, **more: object) -> str:
    return json.dumps({"type": "event_msg", "payload": {"type": kind, **more}})


def kept(home: Path, *lines: str) -> Path:
    folder = home / "sessions" / "2026" / "11" / "22"
    folder.mkdir(parents=True)
    (folder / f"rollout-2026-11-22T08-42-22-{SESSION}.jsonl").write_text("\n".join(lines))
    return home


def of(tokens: int) -> Usage:
    return Usage(input_tokens=tokens, output_tokens=1, total_tokens=tokens + 1)


def test_what_was_told_ends_with_the_last_turn_that_was_over(tmp_path: Path) -> None:
    said = event("agent_message", message='a "task_complete" and "token_count" of somebody')
    lines = (used(100), "[]", event("task_complete"), '{"token_count" torn', said, used(300))
    home = kept(tmp_path, *lines)
    assert counted_before(home, SESSION, whole=False) == of(100)
    assert counted_before(home, SESSION, whole=True) == of(300)


def test_a_session_without_a_turn_that_was_over_was_told_nothing_of(tmp_path: Path) -> None:
    home = kept(tmp_path, used(100), event("token_count", info=None))
    assert counted_before(home, SESSION, whole=False) == NO_USAGE


def test_what_cannot_be_found_is_not_known(tmp_path: Path) -> None:
    home = kept(tmp_path, used(100))
    assert counted_before(home, "another", whole=True) is None
    assert counted_before(home, "../*", whole=True) is None
    assert counted_before(None, SESSION, whole=True) is None
    assert counted_before(tmp_path / "nowhere", SESSION, whole=True) is None


def test_its_home_is_where_it_looks_for_it() -> None:
    assert home_of({"CODEX_HOME": "/a", "HOME": "/b"}) == Path("/a")
    assert home_of({"HOME": "/b"}) == Path("/b/.codex")
    assert home_of({}) is None

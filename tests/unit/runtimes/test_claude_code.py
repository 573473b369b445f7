"""How Claude Code is started, and what it can ask us: a stand-in program asks over real HTTP."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest

from perstack.domain.expert import Expert, InteractiveSkill, InteractiveTool
from perstack.domain.runtimes import Permissions, ProgramSettings
from perstack.errors import ProgramError
from perstack.ports.programs import Asks, Began, Finished, Permission, Report, Returned, Talk, Turn
from perstack.runtimes.claude_code import ClaudeCode, Files, open_program
from perstack.runtimes.claude_gate import permission_tool
from perstack.runtimes.claude_trust import is_trusted
from tests.fakes import claude_program
from tests.unit.runtimes.talking import LEAD, talk_with
from tests.unit.runtimes.test_claude_reader import call, ends, result, says, starts

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
STAND_IN: Final = (sys.executable, str(Path(claude_program.__file__)))
ASKING: Final = LEAD.model_copy(
    update={
        "skills": {
            "user": InteractiveSkill(
                tools={"askUser": InteractiveTool(input_schema={"type": "object"})}
            )
        }
    }
)
INIT: Final[Json] = {"type": "system", "subtype": "init", "session_id": "s1", "model": "m"}
WANTS: Final[Json] = {"ask": {"tool_name": "Bash", "input": {"x": 1}, "tool_use_id": "t1"}}
CALLS: Final[Sequence[Json]] = (INIT, starts(), says(call("t1")), *ends())


def argv_of(talk: Talk, permissions: Permissions | None = None) -> tuple[str, ...]:
    program = open_program(ProgramSettings(permissions=permissions))
    return program.invocation(talk, Files(servers=Path("/f/servers.json"))).argv


async def told(
    folder: Path,
    script: Sequence[Json],
    talk: Talk,
    *,
    permissions: Permissions | None = None,
    answer: Permission | None = None,
) -> tuple[list[Report], Json]:
    """Play a talk to its end, or to what nobody answers; return what was told, how it began."""
    await anyio.Path(folder / "claude-script.json").write_text(json.dumps(script))
    program = ClaudeCode(ProgramSettings(command=STAND_IN, permissions=permissions))
    here = dataclasses.replace(talk, workspace=folder, env={"PATH": os.environ["PATH"], **talk.env})
    heard: list[Report] = []
    with anyio.fail_after(20):
        async with program.talk(here) as hearing:
            while not heard or not isinstance(heard[-1], Finished):
                heard.append(await hearing.next())
                if isinstance(heard[-1], Asks):
                    if answer is None:
                        break
                    await heard[-1].answer(answer)
    return heard, json.loads(await anyio.Path(folder / "claude-call.json").read_text())


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that temporary files are made in."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def decision(heard: Sequence[Report]) -> Json:
    (returned,) = [one for one in heard if isinstance(one, Returned)]
    (part,) = returned.outcome.parts
    return json.loads(getattr(part, "text", ""))


# ---------------------------------------------------------------- how it is started


def test_it_is_started_headless_with_the_instruction_and_asks_before_it_does_things() -> None:
    argv = argv_of(talk_with())
    assert argv[:4] == ("claude", "-p", "--output-format", "stream-json")
    assert "--append-system-prompt=You are lead." in argv
    assert "--permission-mode=default" in argv
    assert "--permission-prompt-tool=mcp__perstack__approve" in argv
    assert "--mcp-config=/f/servers.json" in argv
    assert "--strict-mcp-config" not in argv


@pytest.mark.parametrize(
    ("permissions", "option", "asks"),
    [
        ("ask", "--permission-mode=default", True),
        ("edits", "--permission-mode=acceptEdits", True),
        ("all", "--dangerously-skip-permissions", False),
    ],
)
def test_permissions_choose_its_mode(permissions: Permissions, option: str, asks: bool) -> None:
    argv = argv_of(talk_with(), permissions)
    assert option in argv
    assert any("--permission-prompt-tool" in word for word in argv) is asks


def test_a_session_is_gone_on_with_and_left_alone_when_another_run_may_need_it() -> None:
    assert not any("--resume" in word for word in argv_of(talk_with()))
    resumed = argv_of(talk_with(session="s1"))
    forked = argv_of(talk_with(session="s1", branch=True))
    assert "--resume=s1" in resumed
    assert "--fork-session" not in resumed
    assert {"--resume=s1", "--fork-session"} <= set(forked)


def test_a_model_is_named_only_if_it_is_anthropics() -> None:
    program = ClaudeCode(ProgramSettings())
    own = talk_with(model="claude-x", provider="anthropic")
    other = talk_with(model="gpt-5", provider="openai")
    assert "--model=claude-x" in argv_of(own)
    assert program.dropped(own) == ()
    assert not any("--model" in word for word in argv_of(other))
    assert program.dropped(other) == ("model gpt-5 (it has Anthropic's alone)",)


def test_questions_are_its_tools_and_allowed_where_they_can_be_put_to_somebody() -> None:
    program = ClaudeCode(ProgramSettings())
    assert program.questions(ASKING) == {"askUser": "mcp__perstack__askUser"}
    asking = dataclasses.replace(talk_with(expert=ASKING), may_ask=True)
    assert "--allowedTools=mcp__perstack__askUser" in argv_of(asking)
    assert program.dropped(asking) == ()
    silent = talk_with(expert=ASKING)
    assert not any("--allowedTools" in word for word in argv_of(silent))
    assert program.dropped(silent) == ("interactive skill user",)


def test_no_tool_of_an_expert_is_taken_for_the_one_that_asks_permission() -> None:
    assert permission_tool([]) == "approve"
    assert permission_tool(["approve", "approve_"]) == "approve__"


def test_no_key_is_passed_unless_asked_for() -> None:
    talk = talk_with(env={"ANTHROPIC_API_KEY": "sk-1", "HOME": "/home/ana"})
    plain = ClaudeCode(ProgramSettings()).invocation(talk, Files())
    assert "ANTHROPIC_API_KEY" not in plain.env
    assert plain.env["HOME"] == "/home/ana"
    assert plain.env["DISABLE_AUTOUPDATER"] == "1"
    asked = ClaudeCode(ProgramSettings(env=("ANTHROPIC_API_KEY",))).invocation(talk, Files())
    assert asked.env["ANTHROPIC_API_KEY"] == "sk-1"
    assert not any("sk-1" in word for word in asked.argv)


def test_our_server_is_reached_by_no_proxy() -> None:
    talk = talk_with(env={"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "internal"})
    env = ClaudeCode(ProgramSettings()).invocation(talk, Files()).env
    assert env["NO_PROXY"] == "internal,127.0.0.1"
    assert env["no_proxy"] == "127.0.0.1"


@pytest.mark.parametrize("prompt", ["/clear", "\n /compact now"])
def test_a_prompt_is_none_of_its_commands(prompt: str) -> None:
    made = ClaudeCode(ProgramSettings()).invocation(talk_with(prompt=prompt), Files())
    assert made.stdin == f"The request: {prompt}"


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("@/etc/passwd", "\\@/etc/passwd"),
        ("see @a.txt\n@b.txt", "see \\@a.txt\n\\@b.txt"),
        ('(@"a b")', '(\\@"a b")'),
        ("\u8bfb@/etc/passwd", "\u8bfb\\@/etc/passwd"),
        ("mail ana.k+x@example.org", "mail ana.k+x@example.org"),
    ],
)
def test_no_word_of_a_prompt_puts_a_file_in_its_place(prompt: str, told: str) -> None:
    made = ClaudeCode(ProgramSettings()).invocation(talk_with(prompt=prompt), Files())
    assert made.stdin == told


# ---------------------------------------------------------------- whom it trusts


def accepted(home: Path, folder: Path, verdict: object = True) -> dict[str, str]:
    """Write what claude keeps of a folder that its user was asked about."""
    home.mkdir(exist_ok=True)
    projects = {str(folder): {"hasTrustDialogAccepted": verdict}}
    (home / ".claude.json").write_text(json.dumps({"projects": projects}))
    return {"HOME": str(home)}


async def test_a_folder_that_it_was_not_told_to_trust_sets_nothing_up(tmp_path: Path) -> None:
    _, began = await told(tmp_path, [INIT, result()], talk_with())
    assert "--setting-sources=user" in began["argv"]


async def test_a_folder_that_it_was_told_to_trust_keeps_its_settings(tmp_path: Path) -> None:
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    talk = talk_with(env=accepted(home, work))
    _, began = await told(work, [INIT, result()], talk)
    assert not any("--setting-sources" in word for word in began["argv"])


def test_trust_is_of_the_very_folder_and_what_cannot_be_understood_is_none(tmp_path: Path) -> None:
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    env = accepted(home, work)
    assert is_trusted(work, env)
    assert is_trusted(work, {"HOME": "/nowhere", "CLAUDE_CONFIG_DIR": str(home)})
    (tmp_path / "link").symlink_to(work)
    assert is_trusted(tmp_path / "link", env)
    (work / "sub").mkdir()
    assert not is_trusted(work / "sub", env)
    assert not is_trusted(tmp_path, env)
    assert not is_trusted(work, {})
    for verdict in (False, "true", 1, None):
        assert not is_trusted(work, accepted(home, work, verdict))
    for record in ("", "[]", '{"projects": []}', "[" * 100_000, "\xff"):
        (home / ".claude.json").write_text(record, errors="replace")
        assert not is_trusted(work, env)


def test_what_a_folder_without_trust_has_for_it_is_left_out_and_said(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / ".claude").mkdir(parents=True)
    (work / ".mcp.json").symlink_to("/nowhere")
    program = ClaudeCode(ProgramSettings())
    talk = dataclasses.replace(talk_with(), workspace=work)
    why = "(start claude here once and trust the folder)"
    assert program.dropped(talk) == (f".claude, .mcp.json {why}",)
    trusting = dataclasses.replace(talk, env=accepted(tmp_path / "home", work))
    assert program.dropped(trusting) == ()


# ---------------------------------------------------------------- what it asks


async def test_permission_is_asked_after_the_turn_that_wants_it_and_given(
    tmp_path: Path, temporary: Path
) -> None:
    script = [*CALLS, WANTS, result()]
    heard, began = await told(tmp_path, script, talk_with(), answer=Permission(allowed=True))
    assert [type(one) for one in heard] == [Began, Turn, Asks, Returned, Finished]
    # What was seen is done, whatever the program asked with.
    assert decision(heard) == {"behavior": "allow", "updatedInput": {"command": "ls"}}
    assert began["modes"] == ["0o600"]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("feedback", "message"),
    [("Not now.", "Not now."), (None, "The user does not want this done.")],
)
async def test_permission_is_denied_with_why(
    tmp_path: Path, feedback: str | None, message: str
) -> None:
    said = Permission(allowed=False, feedback=feedback)
    heard, _ = await told(tmp_path, [*CALLS, WANTS, result()], talk_with(), answer=said)
    assert decision(heard) == {"behavior": "deny", "message": message}


STARTED: Final[Json] = {
    "type": "system",
    "subtype": "task_started",
    "task_id": "a1",
    "task_type": "local_agent",
}


@pytest.mark.parametrize(
    "inner", [says(call("t1"), id_="sub", parent="t0"), STARTED], ids=["told", "not told yet"]
)
async def test_for_a_subagent_nobody_is_asked(tmp_path: Path, inner: Json) -> None:
    heard, _ = await told(tmp_path, [INIT, inner, WANTS, result()], talk_with())
    assert decision(heard)["behavior"] == "deny"
    assert "main agent" in decision(heard)["message"]


async def test_a_talk_can_end_while_it_waits_for_an_answer(tmp_path: Path) -> None:
    heard, began = await told(tmp_path, [*CALLS, WANTS, result()], talk_with())
    assert isinstance(heard[-1], Asks)
    url = began["servers"]["mcpServers"]["perstack"]["url"]
    with pytest.raises(urllib.error.URLError):
        await anyio.to_thread.run_sync(urllib.request.urlopen, url)


async def test_a_question_to_the_user_is_not_answered_in_the_talk(tmp_path: Path) -> None:
    script = [*CALLS[:2], says(call("t1", "mcp__perstack__askUser")), *ends(), {"call": "askUser"}]
    talk = dataclasses.replace(talk_with(expert=ASKING), may_ask=True)
    await anyio.Path(tmp_path / "claude-script.json").write_text(json.dumps([*script, result()]))
    program = ClaudeCode(ProgramSettings(command=STAND_IN))
    here = dataclasses.replace(talk, workspace=tmp_path, env={"PATH": os.environ["PATH"]})
    with anyio.fail_after(20):
        async with program.talk(here) as hearing:
            assert isinstance(await hearing.next(), Began)
            turn = await hearing.next()
            assert isinstance(turn, Turn)
            assert program.questions(ASKING)["askUser"] == "mcp__perstack__askUser"


async def test_nobody_without_the_token_can_ask(tmp_path: Path) -> None:
    await anyio.Path(tmp_path / "claude-script.json").write_text(json.dumps([*CALLS, WANTS]))
    program = ClaudeCode(ProgramSettings(command=STAND_IN))
    here = dataclasses.replace(talk_with(), workspace=tmp_path, env={"PATH": os.environ["PATH"]})

    def status(url: str, headers: dict[str, str]) -> int:
        request = urllib.request.Request(url, b"{}", headers)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)
        with refused.value as error:
            return error.code

    async with program.talk(here) as hearing:
        while not isinstance(await hearing.next(), Asks):
            pass
        began = json.loads(await anyio.Path(tmp_path / "claude-call.json").read_text())
        named = began["servers"]["mcpServers"]["perstack"]
        token = named["headers"]["Authorization"]
        for headers in (
            {},
            {"Authorization": "Bearer x"},
            {"Authorization": token, "Host": "evil.example"},
            {"Authorization": token, "Origin": "http://evil.example"},
        ):
            assert await anyio.to_thread.run_sync(status, named["url"], headers) == 403
        elsewhere = named["url"].replace("/mcp", "/else")
        right = {"Authorization": token}
        assert await anyio.to_thread.run_sync(status, elsewhere, right) == 404
    assert token not in json.dumps([began["argv"], began["env"]])


async def test_a_long_instruction_comes_in_a_file(tmp_path: Path) -> None:
    long = "You are lead. " * 20_000
    expert: Expert = LEAD.model_copy(update={"instruction": long})
    script = [INIT, result()]
    _, began = await told(tmp_path, script, talk_with(expert=expert), permissions="all")
    assert began["instruction"] == long.strip()
    assert began["servers"] is None
    assert began["modes"] == ["0o600"]


async def test_what_was_said_before_is_on_no_command_line(tmp_path: Path) -> None:
    talk = talk_with(past="You: the plan is secret")
    _, began = await told(tmp_path, [INIT, result()], talk, permissions="all")
    assert "the plan is secret" in began["instruction"]
    assert not any("secret" in word for word in began["argv"])
    assert began["modes"] == ["0o600"]


async def test_a_program_that_fails_says_why_and_nothing_is_left(
    tmp_path: Path, temporary: Path
) -> None:
    with pytest.raises(ProgramError, match="without a result"):
        await told(tmp_path, [INIT], talk_with())
    assert list(temporary.iterdir()) == []

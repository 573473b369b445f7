"""How the Gemini CLI is started, and what it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perstack.domain.expert import Expert, InteractiveSkill, InteractiveTool
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.runtimes import Permissions, ProgramSettings
from perstack.domain.settings import ProviderName, ProviderSettings, Settings
from perstack.ports.programs import Talk
from perstack.runtimes.gemini import Found, GeminiCli, look_up, open_program
from perstack.runtimes.running import Invocation

SESSION = "a30a3b14-5071-44e5-b03a-7b73d8f08cf2"
ENV = {
    "PATH": "/bin",
    "GEMINI_API_KEY": "canary",
    "GEMINI_CLI_HOME": "/elsewhere",
    "ANTHROPIC_API_KEY": "not-yours",
    "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:9",
}


def talk_of(workspace: Path, *, provider: ProviderName = "google", **more: Any) -> Talk:
    expert = Expert(
        key=ExpertKey("lead"), name="lead", instruction="Write to ada@example.com.", skills={}
    )
    given: dict[str, Any] = {"expert": expert, "prompt": "Say hi.", "env": ENV, **more}
    settings = Settings(provider=ProviderSettings(name=provider))
    return Talk(
        job_id=JobId("j"),
        run_id=RunId("r"),
        experts={},
        workspace=workspace,
        settings=settings,
        **given,
    )


def started(
    talk: Talk, found: Found | None = None, settings: ProgramSettings | None = None
) -> Invocation:
    return GeminiCli(settings or ProgramSettings()).invocation(talk, found or Found())


def test_it_streams_json_and_may_edit_files_unless_told_otherwise(tmp_path: Path) -> None:
    argv = started(talk_of(tmp_path)).argv

    assert argv == ("gemini", "--output-format", "stream-json", "--approval-mode", "auto_edit")


@pytest.mark.parametrize(
    ("permissions", "mode"), [("ask", "default"), ("edits", "auto_edit"), ("all", "yolo")]
)
def test_permissions_are_its_approval_mode(
    tmp_path: Path, permissions: Permissions, mode: str
) -> None:
    settings = ProgramSettings(permissions=permissions, command=("node", "gemini.js"))
    argv = started(talk_of(tmp_path), settings=settings).argv

    assert argv[:2] == ("node", "gemini.js")
    assert argv[-1] == mode


def test_the_prompt_comes_on_standard_input_and_is_never_an_order_to_the_program(
    tmp_path: Path,
) -> None:
    first = started(talk_of(tmp_path, prompt="/quit @secrets.txt"))
    later = started(talk_of(tmp_path, prompt="/quit @secrets.txt", session=SESSION))

    assert first.stdin == (
        "## Instructions\n\nWrite to ada\\@example.com.\n\n## User Request\n\n/quit \\@secrets.txt"
    )
    assert later.stdin == "## User Request\n\n/quit \\@secrets.txt"
    assert not any("secrets" in word for word in first.argv)


def test_a_session_is_resumed_and_a_branch_goes_on_with_a_copy(tmp_path: Path) -> None:
    kept = tmp_path / "session.jsonl"

    resumed = started(talk_of(tmp_path, session=SESSION))
    branched = started(talk_of(tmp_path, session=SESSION, branch=True), Found(session_file=kept))

    assert resumed.argv[-1] == f"--resume={SESSION}"
    assert branched.argv[-1] == f"--session-file={kept}"
    assert not any(word.startswith("--resume") for word in branched.argv)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("google", "some-tuned-model"),
        ("google-vertex", "gemini-2.5-pro"),
        ("anthropic", "gemini-2.5-pro"),
        ("anthropic", "models/gemini-2.5-pro"),
        ("anthropic", "flash"),
    ],
)
def test_a_model_of_googles_is_asked(tmp_path: Path, provider: ProviderName, model: str) -> None:
    talk = talk_of(tmp_path, provider=provider, model=model)

    assert started(talk).argv[-1] == f"--model={model}"
    assert open_program(ProgramSettings()).dropped(talk) == ()


def test_another_vendors_model_is_dropped_and_said(tmp_path: Path) -> None:
    talk = talk_of(tmp_path, provider="anthropic", model="claude-sonnet-5-5")

    assert not any(word.startswith("--model") for word in started(talk).argv)
    (dropped,) = open_program(ProgramSettings()).dropped(talk)
    assert "claude-sonnet-5-5" in dropped


def test_what_it_cannot_honour_of_a_definition_is_said(tmp_path: Path) -> None:
    tool = InteractiveTool(input_schema={})
    expert = Expert(
        key=ExpertKey("lead"),
        name="lead",
        instruction="x",
        skills={"ask": InteractiveSkill(tools={"askUser": tool})},
        delegates=(ExpertKey("helper"),),
    )
    program = open_program(ProgramSettings())

    assert program.questions(expert) == {}
    assert program.dropped(talk_of(tmp_path, expert=expert, may_ask=True)) == (
        "delegates are described, not called",
        "interactive skill ask",
    )


def test_it_gets_its_key_and_home_and_no_other_key(tmp_path: Path) -> None:
    env = started(talk_of(tmp_path)).env

    assert env["GEMINI_API_KEY"] == "canary"
    assert env["GEMINI_CLI_HOME"] == "/elsewhere"
    assert env["GEMINI_TELEMETRY_ENABLED"] == "false"
    assert env["PERSTACK_RUN_ID"] == "r"
    assert "ANTHROPIC_API_KEY" not in env
    assert "GOOGLE_GEMINI_BASE_URL" not in env


def test_a_variable_is_passed_when_asked_for(tmp_path: Path) -> None:
    settings = ProgramSettings(env=("GOOGLE_GEMINI_BASE_URL",))

    env = started(talk_of(tmp_path), settings=settings).env

    assert env["GOOGLE_GEMINI_BASE_URL"] == "http://127.0.0.1:9"


def test_a_workspace_is_trusted_unless_it_has_settings_of_the_programs(tmp_path: Path) -> None:
    bare = talk_of(tmp_path)
    assert started(bare, look_up(bare)).env["GEMINI_CLI_TRUST_WORKSPACE"] == "true"

    (tmp_path / ".gemini").mkdir()
    assert "GEMINI_CLI_TRUST_WORKSPACE" not in started(bare, look_up(bare)).env


def test_what_its_user_says_of_trust_wins(tmp_path: Path) -> None:
    talk = talk_of(tmp_path, env={**ENV, "GEMINI_CLI_TRUST_WORKSPACE": "false"})
    settings = ProgramSettings(env=("GEMINI_CLI_TRUST_WORKSPACE",))

    assert started(talk, settings=settings).env["GEMINI_CLI_TRUST_WORKSPACE"] == "false"


def test_what_an_env_file_of_the_folder_could_set_is_set_to_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GEMINI_SYSTEM_MD=/x\nGEMINI_API_KEY=theirs\n")
    talk = talk_of(tmp_path)

    env = started(talk, look_up(talk)).env

    assert env["GEMINI_SYSTEM_MD"] == ""
    assert env["GEMINI_API_KEY"] == "canary"
    assert env["GEMINI_CLI_TRUST_WORKSPACE"] == "true"


def test_a_folder_with_an_env_file_that_cannot_be_read_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n" * 100_000)
    talk = talk_of(tmp_path)

    assert "GEMINI_CLI_TRUST_WORKSPACE" not in started(talk, look_up(talk)).env


def keep(home: Path, project: str, name: str, first: str) -> Path:
    chats = home / ".gemini" / "tmp" / project / "chats"
    chats.mkdir(parents=True, exist_ok=True)
    path = chats / name
    path.write_text(first + "\n{}\n")
    return path


def test_the_session_to_branch_from_is_found_by_what_its_file_says(tmp_path: Path) -> None:
    head = json.dumps({"sessionId": SESSION})
    same_begin = json.dumps({"sessionId": SESSION[:8] + "-another"})
    keep(tmp_path, "a", "session-2026-11-22T08-40-a30a3b14.jsonl", same_begin)
    keep(tmp_path, "b", "session-2026-11-22T08-41-a30a3b14.jsonl", "no json")
    keep(tmp_path, "c", "session-2026-11-22T08-42-a30a3b14.jsonl", "[]")
    wanted = keep(tmp_path, "d", "session-2026-11-22T08-43-a30a3b14.jsonl", head)
    env = {"HOME": str(tmp_path)}

    branched = talk_of(tmp_path / "work", session=SESSION, branch=True, env=env)
    going_on = talk_of(tmp_path / "work", session=SESSION, env=env)

    assert look_up(branched).session_file == wanted
    assert look_up(going_on).session_file is None


@pytest.mark.parametrize("session", ["../../../x", "a*", "", "[a-z]30a3b14", "--help"])
def test_a_session_of_a_strange_name_is_not_looked_for(tmp_path: Path, session: str) -> None:
    keep(tmp_path, "a", "session-1-a30a3b14.jsonl", json.dumps({"sessionId": session}))
    talk = talk_of(tmp_path, session=session, branch=True, env={"HOME": str(tmp_path)})

    assert look_up(talk).session_file is None

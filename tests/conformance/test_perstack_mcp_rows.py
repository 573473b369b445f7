"""Rows 95 to 98 and 122 to 125 of Perstack's end-to-end cases: skills and how they start."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from tests.fakes.cli import Program, Ran, by_expert, calls, finishes, is_subsequence, play
from tests.fakes.mcp_http import mcp_http
from tests.fakes.model_server import Answer, ModelServer, model_server
from tests.fakes.model_wire import Call

FAKES: Final = Path(__file__).parents[1] / "fakes"
MCP_SERVER: Final = str(FAKES / "mcp_server.py")
BASE: Final = """
[experts."e2e".skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
"""
EXPERT: Final = """
[experts."e2e"]
instruction = "You are e2e."
"""


def exa(name: str = "exa", *, tool: str = "web_search_exa", more: str = "", args: str = "") -> str:
    return f"""
[experts."e2e".skills."{name}"]
type = "mcpStdioSkill"
command = "{sys.executable}"
args = ["-S", "{MCP_SERVER}", "--tools", "{tool}"{args}]
{more}
"""


def played(folder: Path, toml: str, *said: Answer, env: dict[str, str] | None = None) -> Ran:
    (ran,), _ = asked(folder, toml, said, env)
    return ran


def asked(
    folder: Path, toml: str, said: Sequence[Answer], env: dict[str, str] | None = None
) -> tuple[list[Ran], ModelServer]:
    return play(
        lambda url: Program.make(folder, toml, base_url=url, env=env),
        by_expert({"e2e": said}),
        ("run", "e2e", "Go"),
    )


def called(ran: Ran) -> list[str]:
    return [call["toolName"] for event in ran.all("callTools") for call in event["toolCalls"]]


def connected(ran: Ran, skill: str) -> dict[str, Any]:
    (event,) = [each for each in ran.all("skillConnected") if each["skillName"] == skill]
    return event


def offered(server: ModelServer) -> set[str]:
    return {tool["name"] for tool in server.requests[0].body["tools"]}


PICK: Final = EXPERT + BASE + 'packageName = "@perstack/base"\npick = ["attemptCompletion", "todo"]'
OMIT: Final = EXPERT + BASE + 'packageName = "@perstack/base"\nomit = ["exec"]'


def test_row_95_a_tool_that_was_not_picked_is_not_called(tmp_path: Path) -> None:
    (ran,), server = asked(tmp_path, PICK, finishes("I cannot read."))
    assert ran.code == 0
    assert "readTextFile" not in called(ran)
    assert offered(server) == {"attemptCompletion", "todo"}


def test_row_96_a_tool_that_was_picked_is(tmp_path: Path) -> None:
    tracks = calls(Call("todo", {"newTodos": ["one"]}))
    done = calls(Call("todo", {"completedTodos": [0]}))
    ran = played(tmp_path, PICK, tracks, done, *finishes("Tracked."))
    assert ran.code == 0
    assert called(ran)[:2] == ["todo", "todo"]


def test_row_97_an_omitted_tool_is_never_called(tmp_path: Path) -> None:
    (ran,), server = asked(tmp_path, OMIT, finishes("I cannot run anything."))
    assert ran.code == 0
    assert "exec" not in called(ran)
    assert "exec" not in offered(server)
    assert "readTextFile" in offered(server)


def test_a_model_that_calls_an_omitted_tool_all_the_same_is_told(tmp_path: Path) -> None:
    runs = calls(Call("exec", {"command": "touch", "args": ["made"]}))
    (ran,), server = asked(tmp_path, OMIT, [runs, *finishes("I cannot run anything.")])
    assert ran.code == 0
    assert "not found" in str(server.requests[1].body["messages"][-1])
    assert not (tmp_path / "made").exists()


def test_row_98_the_base_skill_and_a_server_beside_it(tmp_path: Path) -> None:
    search = calls(Call("web_search_exa", {"query": "perstack"}))
    (ran,), server = asked(tmp_path, EXPERT + exa(), [search, *finishes("Found.")])
    assert ran.code == 0
    assert is_subsequence(["startRun", "callTools", "completeRun"], ran.types())
    assert {"web_search_exa", "readTextFile"} <= offered(server)
    assert "example.com" in str(server.requests[1].body["messages"][-1])


@pytest.mark.parametrize(
    "toml",
    [
        EXPERT + BASE + 'packageName = "@perstack/base@0.0.34"',
        EXPERT + BASE + 'args = ["-y", "@perstack/base@0.0.34"]',
        f'perstackBaseSkillCommand = ["{sys.executable}", "-S", "{FAKES / "base_server.py"}"]'
        + EXPERT,
    ],
    ids=["packageName", "args", "perstackBaseSkillCommand"],
)
def test_row_122_and_123_a_base_skill_of_another_version_is_a_program_of_its_own(
    tmp_path: Path, toml: str
) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    npx = bin_folder / "npx"
    npx.write_text(
        f'#!/bin/sh\n[ "$*" = "-y @perstack/base@0.0.34" ] || exit 9\n'
        f'exec "{sys.executable}" -S "{FAKES / "base_server.py"}"\n'
    )
    npx.chmod(0o755)
    ran = played(
        tmp_path / "work",
        toml,
        calls("healthCheck"),
        *finishes("Healthy."),
        env={"PATH": f"{bin_folder}:/usr/bin:/bin"},
    )
    assert ran.code == 0, ran.stderr
    base = connected(ran, "@perstack/base")
    assert base["totalDurationMs"] > 0
    assert base["serverInfo"] == {"name": "stand-in", "version": "0.0.34"}
    assert called(ran)[0] == "healthCheck"
    assert '"status": "ok"' in str(ran.all("resolveToolResults")[0]).replace("\\", "")
    assert ran.one("completeRun")["text"] == "Healthy."


def test_row_124_a_run_begins_once_all_skills_are_connected(tmp_path: Path) -> None:
    toml = EXPERT + exa() + exa("other", tool="record", more="lazyInit = false")
    ran = played(tmp_path, toml, *finishes("Hello."))
    assert ran.code == 0
    began = ran.one("startRun")
    for skill in ("exa", "other"):
        event = connected(ran, skill)
        assert ran.events.index(event) < ran.events.index(began)
        assert event["timestamp"] <= began["timestamp"]


def test_row_125_a_run_begins_before_a_lazy_skill_is_connected(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    more, args = "lazyInit = true", f', "--fault", "wait_for_marker", "--marker", "{gate}"'
    toml = EXPERT + exa(more=more, args=args)

    async def run() -> tuple[Ran, ModelServer]:
        async with model_server(decide=by_expert({"e2e": finishes("Hello.")})) as server:
            program = Program.make(tmp_path, toml, base_url=server.url)
            async with program.running("run", "e2e", "Go") as running:
                await running.until("startRun")
                assert [each["skillName"] for each in running.events if _is_ready(each)] == [
                    "@perstack/base"
                ]
                assert server.requests == []
                gate.touch()
                return await running.ended(), server

    ran, server = anyio.run(run)
    assert ran.code == 0
    late = connected(ran, "exa")
    assert ran.events.index(ran.one("startRun")) < ran.events.index(late)
    assert ran.events.index(late) < ran.events.index(ran.all("startGeneration")[0])
    assert "web_search_exa" in offered(server)
    assert is_subsequence(["startRun", "skillConnected", "completeRun"], ran.types())


@pytest.mark.parametrize(
    ("kind", "type_"), [("mcp", "mcpHttpSkill"), ("sse", "mcpSseSkill")], ids=["http", "sse"]
)
def test_a_server_at_an_address_is_used_as_the_file_says(
    tmp_path: Path, kind: str, type_: str
) -> None:
    async def run() -> tuple[Ran, ModelServer]:
        said = [calls(Call("echo", {"text": "far"})), *finishes("Said.")]
        async with mcp_http() as far, model_server(decide=by_expert({"e2e": said})) as server:
            toml = f"""{EXPERT}
[experts."e2e".skills."far"]
type = "{type_}"
endpoint = "{far.url}/{kind}?key=sk-query-secret"
allowPrivate = true
bearerTokenEnv = "FAR_TOKEN"
omit = ["add"]
"""
            env = {"FAR_TOKEN": "tok-bearer-secret"}
            program = Program.make(tmp_path, toml, base_url=server.url, env=env)
            ran = await program.run("run", "e2e", "Go")
            assert all(
                each.headers["authorization"] == "Bearer tok-bearer-secret" for each in far.asked
            )
            return ran, server

    ran, server = anyio.run(run)
    assert ran.code == 0, ran.stderr
    starting = ran.one("skillStarting")
    assert starting["command"] == ("sse" if kind == "sse" else "http")
    assert starting["args"][0].endswith(f"/{kind}")
    assert "echo" in offered(server)
    assert "add" not in offered(server)
    told = ran.stdout + ran.stderr
    assert "sk-query-secret" not in told
    assert "tok-bearer-secret" not in told
    for path in (tmp_path / "perstack").rglob("*"):
        if path.is_file():
            assert b"tok-bearer-secret" not in path.read_bytes(), path


def _is_ready(event: dict[str, Any]) -> bool:
    return event["type"] == "skillConnected"

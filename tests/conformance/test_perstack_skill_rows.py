"""Rows 92 to 94, 120, 121 and 131 to 134 of Perstack's end-to-end cases: base skill, lock file."""

from __future__ import annotations

import base64
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fakes.cli import Program, Ran, by_expert, calls, finishes, is_subsequence, play
from tests.fakes.model_server import Answer, ModelServer
from tests.fakes.model_wire import Call

MCP_SERVER: Final = str(Path(__file__).parents[1] / "fakes" / "mcp_server.py")
PIXEL: Final = base64.b64decode("R0lGODlhAQABAAAAACw=")
PAPER: Final = b"%PDF-1.7\n% the report\n"
TEAM: Final = f"""
[experts."reader"]
instruction = "You are reader."
[experts."reader".skills."exa"]
type = "mcpStdioSkill"
command = "{sys.executable}"
args = ["-S", "{MCP_SERVER}", "--tools", "web_search_exa", "--pid-file", "server.pid"]

[experts."plain"]
instruction = "You are plain."
"""
SEARCH: Final = Call("web_search_exa", {"query": "perstack"})


def played(
    folder: Path, said: Sequence[Answer], *commands: tuple[str, ...], expert: str = "reader"
) -> tuple[list[Ran], ModelServer]:
    folder.mkdir(exist_ok=True)
    (folder / "paper.pdf").write_bytes(PAPER)
    (folder / "pixel.gif").write_bytes(PIXEL)
    decide = by_expert({expert: said})
    return play(lambda url: Program.make(folder, TEAM, base_url=url), decide, *commands)


def results(ran: Ran) -> dict[str, list[dict[str, Any]]]:
    """The parts of each tool's result in the first response."""
    first = ran.all("resolveToolResults")[0]
    return {result["toolName"]: result["result"] for result in first["toolResults"]}


# ---------------------------------------------------------------- the base skill


def test_row_92_a_document_a_picture_and_a_search_in_one_response(tmp_path: Path) -> None:
    three = calls(
        Call("readPdfFile", {"path": "paper.pdf"}),
        Call("readImageFile", {"path": "pixel.gif"}),
        SEARCH,
    )
    (ran,), server = played(
        tmp_path, [three, *finishes("All read.")], ("run", "reader", "Read and search")
    )
    assert ran.code == 0
    assert len(ran.all("callTools")[0]["toolCalls"]) == 3
    found = results(ran)
    assert set(found) == {"readPdfFile", "readImageFile", "web_search_exa"}
    assert [part["type"] for part in found["readPdfFile"]] == ["fileInlinePart"]
    assert [part["type"] for part in found["readImageFile"]] == ["imageInlinePart"]
    assert ran.one("completeRun")["text"] == "All read."
    sent = str(server.requests[1].body)
    assert base64.b64encode(PAPER).decode() in sent
    assert base64.b64encode(PIXEL).decode() in sent


@pytest.mark.parametrize(
    ("tool", "path", "part", "content"),
    [
        ("readPdfFile", "paper.pdf", "fileInlinePart", PAPER),
        ("readImageFile", "pixel.gif", "imageInlinePart", PIXEL),
    ],
)
def test_row_93_and_94_what_was_read_reaches_the_model(
    tmp_path: Path, tool: str, path: str, part: str, content: bytes
) -> None:
    reads = [calls(Call(tool, {"path": path})), *finishes("It is the report.")]
    (ran,), server = played(tmp_path, reads, ("run", "plain", "Read it"), expert="plain")
    assert ran.code == 0
    assert is_subsequence(["startRun", "callTools", "completeRun"], ran.types())
    ((found,),) = results(ran).values()
    assert found["type"] == part
    assert base64.b64encode(content).decode() in str(server.requests[1].body)
    assert ran.one("completeRun")["text"] == "It is the report."


def test_row_120_and_121_the_base_skill_is_part_of_the_program(tmp_path: Path) -> None:
    said = [calls("healthCheck"), *finishes("Healthy.")]
    (ran,), _ = played(tmp_path, said, ("run", "plain", "Check"), expert="plain")
    connected = ran.one("skillConnected")
    assert connected["skillName"] == "@perstack/base"
    assert connected["spawnDurationMs"] == 0
    assert connected["handshakeDurationMs"] == 0
    # Upstream's bound is meant to tell it from a process: even a slow machine is far below it.
    assert connected["totalDurationMs"] < 100
    assert [call["toolName"] for call in ran.all("callTools")[0]["toolCalls"]] == ["healthCheck"]
    ((told,),) = results(ran).values()
    assert '"status": "ok"' in told["text"]


# ---------------------------------------------------------------- the lock file

INSTALL: Final = ("install",)
RUN: Final = ("run", "reader", "Say hello")


def test_row_131_install_tells_what_it_does_and_writes_the_lock(tmp_path: Path) -> None:
    (ran,), _ = played(tmp_path, [], INSTALL)
    assert ran.code == 0
    assert ran.stdout.splitlines() == [
        "Resolving experts...",
        "Found 2 expert(s)",
        "Collecting tool definitions for reader...",
        "  Found 18 tool(s)",
        "Collecting tool definitions for plain...",
        "  Found 17 tool(s)",
        f"Generated {tmp_path / 'perstack.lock'}",
    ]
    text = (tmp_path / "perstack.lock").read_text()
    assert 'version = "1"\n' in text
    assert "generatedAt = " in text
    assert "[experts.reader]\n" in text
    assert "web_search_exa" in text
    assert "readTextFile" in text


def test_row_132_a_run_with_the_lock_starts_no_server_that_is_not_called(tmp_path: Path) -> None:
    played(tmp_path, [], INSTALL)
    (tmp_path / "server.pid").unlink()

    (ran,), server = played(tmp_path, finishes("Hello."), RUN)

    assert ran.code == 0
    assert is_subsequence(["startRun", "completeRun"], ran.types())
    assert "web_search_exa" in str(server.requests[0].body["tools"])
    assert [event["skillName"] for event in ran.all("skillConnected")] == ["@perstack/base"]
    assert not (tmp_path / "server.pid").exists()
    assert "Warning" not in ran.stderr


def test_row_132_with_the_lock_the_first_call_starts_the_server(tmp_path: Path) -> None:
    played(tmp_path, [], INSTALL)
    (tmp_path / "server.pid").unlink()

    (ran,), _ = played(tmp_path, [calls(SEARCH), *finishes("Found.")], RUN)

    assert ran.code == 0
    assert ran.types().index("callTools") < ran.types().index("skillStarting")
    assert "isError" not in ran.all("resolveToolResults")[0]["toolResults"][0]
    assert (tmp_path / "server.pid").exists()


def test_row_133_a_run_without_the_lock_asks_the_server(tmp_path: Path) -> None:
    (ran,), server = played(tmp_path, finishes("Hello."), RUN)
    assert ran.code == 0
    assert is_subsequence(["startRun", "completeRun"], ran.types())
    assert {event["skillName"] for event in ran.all("skillConnected")} == {"@perstack/base", "exa"}
    assert "web_search_exa" in str(server.requests[0].body["tools"])
    assert (tmp_path / "server.pid").exists()


def test_row_134_the_lock_holds_schemas_by_skill(tmp_path: Path) -> None:
    played(tmp_path, [], INSTALL)
    lock = tomllib.loads((tmp_path / "perstack.lock").read_text())
    definitions = lock["experts"]["reader"]["toolDefinitions"]
    by_name = {each["name"]: each for each in definitions}
    assert by_name["exec"]["skillName"] == "@perstack/base"
    assert by_name["web_search_exa"]["skillName"] == "exa"
    assert all(each["inputSchema"]["type"] == "object" for each in definitions)

"""Comparing with the real Claude Code, as npm's registry has it, beside our own runtime.

The model of both is one fake on loopback; each asks it in its own way.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.claude import PASSED, by_turns, claude_project
from tests.fakes.model_server import Answer, Seen, model_server
from tests.fakes.model_wire import Call, Reply
from tests.fakes.npm_programs import npm_program

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(180)]


@pytest.fixture(scope="session")
def claude() -> Path:
    return npm_program("claude")


async def test_the_real_claude_code_and_our_own_runtime_do_the_same_task_side_by_side(
    tmp_path: Path, claude: Path
) -> None:
    copy = tmp_path / "perstack" / "comparisons" / "real" / "claude-code"
    args = {"file_path": str(copy / "note.txt"), "content": "of claude\n"}
    theirs = by_turns([Reply(calls=[Call("Write", args, "toolu_w")]), Reply(["Claude wrote it."])])
    text = {"path": "note.txt", "text": "of ours\n"}
    ours = by_turns(
        [Reply(calls=[Call("writeTextFile", text, "toolu_o")]), Reply(["We wrote it."])]
    )

    def decide(seen: Seen) -> Answer:
        return (ours if "writeTextFile" in json.dumps(seen.body.get("tools")) else theirs)(seen)

    async with model_server(decide=decide) as server:
        program = claude_project(tmp_path, claude, server.url, more='permissions = "edits"')
        ran = await program.run(
            *("compare", "lead", "Write the note.", "--on", "claude-code", "--on", "perstack"),
            *("--id", "real", "--json", "--diff", "--between", "claude-code", "perstack"),
            *PASSED,
        )
    assert ran.code == 0, ran.stderr
    found = json.loads(ran.stdout)
    other, own = found["rows"]
    assert (other["state"], other["text"], other["toolCalls"]) == (
        "completed",
        "Claude wrote it.",
        1,
    )
    assert (own["state"], own["text"], own["toolCalls"]) == ("completed", "We wrote it.", 1)
    for row in (other, own):
        assert row["usage"]["totalTokens"] > 0
        assert row["durationMs"] > 0
        assert [file["path"] for file in row["files"]] == ["note.txt"]
    assert found["between"][0]["diff"][-2:] == ["-of claude", "+of ours"]
    assert (copy / "note.txt").read_text() == "of claude\n"
    assert not (tmp_path / "note.txt").exists()

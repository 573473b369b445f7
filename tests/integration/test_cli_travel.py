"""`perstack diff`, `restore`, `fork`, `jobs delete` and `jobs prune`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.cli import SCRIPTED, Program

pytestmark = pytest.mark.anyio

TEAM: Final = """
[experts."writer"]
instruction = "x"
"""
SCENARIO: Final = """
[[turns]]
turn = 1
calls = [{ tool = "writeTextFile", args = { path = "a.txt", text = "one" } }]
[[turns]]
turn = 2
calls = [{ tool = "writeTextFile", args = { path = "b\\u202E.txt", text = "two" } }]
[[turns]]
turn = 3
calls = [{ tool = "attemptCompletion" }]
[[turns]]
text = "Done."
"""


async def test_a_job_is_compared_restored_forked_and_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    program = Program.make(folder, SCRIPTED + TEAM, scenario=SCENARIO)
    ran = await program.run("run", "writer", "go")
    assert ran.code == 0, ran.stderr
    points = [
        event["checkpoint"]["id"]
        for event in ran.events
        if event["type"] in ("continueToNextStep", "completeRun")
    ]
    diff = await program.run("diff", points[0], points[1])
    assert "A b‹U+202E›.txt  +1 -0" in diff.stdout
    assert json.loads((await program.run("diff", *points[:2], "--json")).stdout)["files"] == [
        {"path": "b‮.txt", "change": "added", "added": 1, "removed": 0, "on_disk": False}
    ]
    work = program.workspace
    dry = await program.run("restore", points[0], "--dry-run")
    assert dry.stdout == "remove: b‹U+202E›.txt\n"
    assert (work / "b‮.txt").exists()
    restored = await program.run("restore", points[0], "--json")
    assert json.loads(restored.stdout)["removed"] == ["b‮.txt"]
    assert not (work / "b‮.txt").exists()
    forked = json.loads((await program.run("fork", points[1], "--json")).stdout)
    assert (Path(forked["workspace"]) / "b‮.txt").read_text() == "two"
    again = await program.run(
        "run", "writer", "more", "--continue-job", forked["job"], "--own-definitions"
    )
    assert (again.code, again.one("completeRun")["text"]) == (0, "Done.")
    unasked = await program.run("jobs", "delete", ran.job_id)
    assert (unasked.code, "--yes" in unasked.stderr) == (1, True)
    deleted = await program.run("jobs", "delete", ran.job_id, "--yes", "--json")
    assert json.loads(deleted.stdout)["jobs"] == [ran.job_id]
    left = json.loads((await program.run("jobs", "--json")).stdout)["jobs"]
    assert [job["id"] for job in left] == [forked["job"]]
    assert (await program.run("diff", points[0], points[1])).code == 0  # of the fork's past
    pruned = await program.run("jobs", "prune", "--older-than", "30d", "--yes")
    assert pruned.stdout.startswith("No jobs.\n")
    assert (await program.run("jobs", "prune", "--older-than", "soon")).code == 1
    assert (await program.run("restore", "nowhere", "--dry-run")).code == 4

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
calls = [{ tool = "writeTextFile", args = { path = "b\\u202E.txt", text = "two\\u001B[2J" } }]
[[turns]]
turn = 3
calls = [{ tool = "attemptCompletion" }]
[[turns]]
text = "Done."
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    folder = tmp_path / "work"
    folder.mkdir()
    return Program.make(folder, SCRIPTED + TEAM, scenario=SCENARIO)


async def job_of(program: Program) -> tuple[str, list[str]]:
    """Run a job; return its id and its checkpoints: with a.txt, with b.txt as well, at the end."""
    ran = await program.run("run", "writer", "go")
    assert ran.code == 0, ran.stderr
    ends = ("continueToNextStep", "completeRun")
    return ran.job_id, [e["checkpoint"]["id"] for e in ran.events if e["type"] in ends]


async def test_a_jobs_files_are_compared_and_restored(program: Program) -> None:
    _, points = await job_of(program)
    diff = await program.run("diff", points[0], points[1])
    assert "A b‹U+202E›.txt  +1 -0" in diff.stdout
    left = program.workspace / "b\u202e.txt"
    shown = await program.run("diff", points[0], points[1], "b\u202e.txt")
    assert shown.stdout == "--- b‹U+202E›.txt\n@@ -0,0 +1 @@\n+two‹U+001B›[2J\n"
    dry = await program.run("restore", points[0], "--dry-run")
    assert dry.stdout == "remove: b‹U+202E›.txt\n"
    assert left.exists()
    restored = await program.run("restore", points[0], "--json")
    assert json.loads(restored.stdout)["removed"] == ["b\u202e.txt"]
    assert not left.exists()


@pytest.mark.long
async def test_a_fork_goes_on_and_outlives_the_job_that_it_is_of(program: Program) -> None:
    job_id, points = await job_of(program)
    assert json.loads((await program.run("diff", *points[:2], "--json")).stdout)["files"] == [
        {"path": "b\u202e.txt", "change": "added", "added": 1, "removed": 0, "on_disk": False}
    ]
    forked = json.loads((await program.run("fork", points[1], "--json")).stdout)
    assert (Path(forked["workspace"]) / "b\u202e.txt").read_text() == "two\x1b[2J"
    again = await program.run(
        "run", "writer", "more", "--continue-job", forked["job"], "--own-definitions"
    )
    assert (again.code, again.one("completeRun")["text"]) == (0, "Done.")
    unasked = await program.run("jobs", "delete", job_id)
    assert (unasked.code, "--yes" in unasked.stderr) == (1, True)
    deleted = await program.run("jobs", "delete", job_id, "--yes", "--json")
    assert json.loads(deleted.stdout)["jobs"] == [job_id]
    left = json.loads((await program.run("jobs", "--json")).stdout)["jobs"]
    assert [job["id"] for job in left] == [forked["job"]]
    assert (await program.run("diff", points[0], points[1])).code == 0  # of the fork's past
    pruned = await program.run("jobs", "prune", "--older-than", "30d", "--yes")
    assert pruned.stdout.startswith("No jobs.\n")
    assert (await program.run("jobs", "prune", "--older-than", "soon")).code == 1
    assert (await program.run("restore", "nowhere", "--dry-run")).code == 4

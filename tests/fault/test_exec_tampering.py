"""A command that lays hands on its own history is found out when the job is next looked at (S2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.cli import SCRIPTED, Program

pytestmark = pytest.mark.anyio

TOML: Final = f"""{SCRIPTED}
[experts.solo]
instruction = "You are solo."
"""
FILE: Final = "$(ls perstack/jobs/*/runs/*/events.jsonl)"


def _scenario(script: str) -> str:
    return f"""
[[turns]]
turn = 1
calls = [{{ tool = "exec", args = {{ command = "sh", args = ["-c", {json.dumps(script)}] }} }}]
[[turns]]
turn = 2
calls = [{{ tool = "attemptCompletion" }}]
[[turns]]
text = "Done."
"""


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (f"sed -i s/solo/sold/ {FILE}", "events.jsonl, line 1 is damaged"),
        (f"echo forged >> {FILE}", "is damaged: the checksum does not fit"),
        (f"mv {FILE} away", "more had been stored"),
    ],
    ids=["edited", "added to", "moved away"],
)
async def test_a_history_that_a_command_has_changed_is_not_taken_for_the_truth(
    tmp_path: Path, script: str, told: str
) -> None:
    program = Program.make(tmp_path, TOML, scenario=_scenario(script))
    ran = await program.run("run", "solo", "go")
    assert "isError" not in ran.one("resolveToolResults")["toolResults"][0]
    looked = await program.run("log")
    again = await program.run("run", "solo", "more", "--continue-job", ran.job_id)
    assert told in looked.stderr + again.stderr


async def test_a_history_that_a_command_has_removed_ends_the_run_as_a_failure_of_the_disk(
    tmp_path: Path,
) -> None:
    program = Program.make(tmp_path, TOML, scenario=_scenario("rm -rf perstack"))
    ran = await program.run("run", "solo", "go")
    assert ran.code == 5
    assert "job.json" in ran.stderr

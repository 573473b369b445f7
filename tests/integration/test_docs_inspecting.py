"""Each example of docs/inspecting.md, typed as it stands there, against a job that was run."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import pytest

from tests.fakes.cli import SCRIPTED, Program, Ran
from tests.fakes.collector import collector

PAGE: Final = (Path(__file__).parents[2] / "docs" / "inspecting.md").read_text()
EXAMPLES: Final = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]
TEAM: Final = (
    SCRIPTED
    + '[experts."lead"]\ninstruction = "x"\ndelegates = ["reader"]\n'
    + '[experts."reader"]\ninstruction = "x"\n'
)
SCENARIO: Final = """
[[turns]]
expert = "lead"
turn = 1
text = "I will have it read."
calls = [{ tool = "reader", args = { query = "Read perstack.toml" } }]
[[turns]]
expert = "reader"
turn = 1
calls = [{ tool = "readTextFile", args = { path = "perstack.toml" } }]
[[turns]]
text = "All done."
"""


@dataclass(frozen=True)
class Job:
    program: Program
    job: str
    run: str
    checkpoint: str

    def type(self, line: str, endpoint: str = "") -> Ran:
        """Run an example."""
        named = {
            "JOB": self.job[:8],
            "RUN": self.run,
            "CHECKPOINT": self.checkpoint,
            "http://127.0.0.1:4318": endpoint,
        }
        words = [named.get(word, word) for word in shlex.split(line)]
        assert words[0] == "perstack"

        async def run() -> Ran:
            return await self.program.run(*words[1:])

        return anyio.run(run)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    program = Program.make(tmp_path_factory.mktemp("inspected"), TEAM, scenario=SCENARIO)

    async def run() -> Ran:
        return await program.run("run", "lead", "Have it read")

    ran = anyio.run(run)
    assert ran.code == 0, ran.stderr
    made = next(event for event in ran.all("completeRun") if event["expertKey"] == "reader")
    return Job(program, ran.job_id, made["runId"], made["checkpoint"]["id"])


@pytest.mark.parametrize("line", [line for line in EXAMPLES if "--otel" not in line])
def test_the_example_works(job: Job, line: str) -> None:
    ran = job.type(line)
    assert ran.code == 0, ran.stderr
    if "--errors" in line:
        assert ran.stdout == "No data found\n"
    elif "--json" in line or "-o -" in line:
        assert json.loads(ran.stdout)
    elif line.startswith("perstack export"):
        (written,) = re.findall(r"^Wrote (.*)$", ran.stderr, re.MULTILINE)
        assert job.job in (job.program.workspace / written).read_text()
    else:
        assert "No data found" not in ran.stdout
        assert job.job in ran.stdout or "status" in line


@pytest.mark.parametrize("line", [line for line in EXAMPLES if "--otel" in line])
def test_the_example_sends_spans(job: Job, line: str) -> None:
    with collector() as received:
        ran = job.type(line, endpoint=received.url)
    assert ran.code == 0, ran.stderr
    child = received.named("invoke_agent reader")
    assert child.parent_span_id == received.named("execute_tool reader").span_id
    assert received.named("execute_tool readTextFile").parent_span_id == child.span_id
    assert ("All done." in str(received.spans)) is ("--otel-content" in line)


def test_the_page_names_every_option(job: Job) -> None:
    for command in ("log", "jobs", "export"):
        helped = job.type(f"perstack {command} --help").stdout
        for option in re.findall(r"--[a-z][a-z-]+", helped):
            assert option in PAGE or option == "--help", option


def test_a_transcript_of_a_real_job_nests_its_delegate(job: Job) -> None:
    text = job.type("perstack export JOB --format md -o -").stdout
    assert "> ## Delegated to reader" in text
    assert "> <details><summary>Calls readTextFile perstack.toml</summary>" in text

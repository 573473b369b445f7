"""What stderr says to type next, typed as it stands: it leads on."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import Final

import anyio
import pytest

from tests.fakes.cli import PROGRAM, Program, Ran

pytestmark = pytest.mark.anyio

TEAM: Final = """
[experts."solo"]
instruction = "x"
[experts."solo".skills."user"]
type = "interactiveSkill"
[experts."solo".skills."user".tools."askUser"]
inputJsonSchema = '{"type": "object"}'
"""
SCENARIO: Final = """
[defaults]
price = { input = 1000.0, output = 1000.0 }
[[turns]]
after = "think"
latency_ms = 150
text = "Thought."
[[turns]]
after = "ask me"
calls = [{ tool = "askUser" }]
[[turns]]
after = "wait"
error = { status = 429, retry_after_s = 100 }
text = "Waited."
[[turns]]
turn = 3
text = "Done."
[[turns]]
calls = [{ tool = "healthCheck" }]
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A project whose configuration, workspace and model all have to be named."""
    for name in ("a place to work in", "here"):
        (tmp_path / name).mkdir()
    (tmp_path / "team's.toml").write_text(TEAM)
    (tmp_path / "story.toml").write_text(SCENARIO)
    return Program.make(tmp_path / "here", "this is = = no TOML")


def named(program: Program) -> tuple[str, ...]:
    above = program.workspace.parent
    return (
        *("--workspace", "../a place to work in", "--config", "../team's.toml"),
        *("--provider", "scripted", "--scenario", str(above / "story.toml")),
    )


def next_words(ran: Ran) -> list[str]:
    """The command that stderr says to go on with."""
    (line,) = [line for line in ran.stderr.splitlines() if "with: perstack " in line]
    words = shlex.split(line.partition("with: ")[2])
    assert words[0] == "perstack"
    return words[1:]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("command", [("run",), ("start", "--plain")], ids=["run", "start"])
@pytest.mark.parametrize(
    ("query", "limit", "at_most"),
    [
        ("go", ("--max-steps", "2"), 1),
        ("go", ("--max-tokens", "1"), 4),
        ("go", ("--max-cost", "0.01"), 4),
        ("think", ("--max-duration", "60"), 8),
    ],
    ids=["steps", "tokens", "cost", "duration"],
)
async def test_a_limit_is_raised_by_the_words_that_its_end_is_told_in(
    program: Program, command: tuple[str, ...], query: str, limit: tuple[str, str], at_most: int
) -> None:
    ran = await program.run(*command, "solo", query, *limit, *named(program))
    assert ran.code == 6, ran.stderr
    for _ in range(at_most):
        ran = await program.run(*next_words(ran))
        assert ran.all("startRun"), ran.stderr  # it went on, and was not refused at once
        if ran.code == 0:
            break
    assert ran.code == 0, ran.stderr
    assert ran.one("completeRun")["text"] in {"Done.", "Thought."}


async def test_a_refusal_to_go_on_names_a_limit_that_is_high_enough(program: Program) -> None:
    await program.run("run", "solo", "go", *named(program), "--max-steps", "2")
    refused = await program.run("run", "solo", *named(program), "--continue", "--max-steps", "1")
    assert refused.code == 6
    hint = refused.stderr.partition("Hint: raise the limit: ")[2].partition(" or ")[0].split()
    ran = await program.run("run", "solo", *named(program), "--continue", *hint)
    assert ran.code == 0, ran.stderr


async def test_a_question_is_answered_by_the_words_it_is_told_in(program: Program) -> None:
    asked = await program.run("run", "solo", "ask me", *named(program))
    assert asked.code == 0
    ran = await program.run(*next_words(asked))
    assert ran.all("toolReturned")[0]["result"]["result"][0]["text"] == "<answer>"


async def test_a_job_that_a_signal_stopped_goes_on_by_the_words_it_says(program: Program) -> None:
    async with program.running("run", "solo", "wait", *named(program)) as running:
        await running.until("retry")
        running.send(signal.SIGTERM)
        stopped = await running.ended()
    assert stopped.code == 143
    async with program.running(*next_words(stopped)) as running:
        again = await running.until("startRun")
    assert (again["jobId"], again["runId"]) == (stopped.job_id, stopped.run_ids[0])


async def test_the_words_are_safe_in_a_shell(program: Program) -> None:
    ran = await program.run("run", "solo", "go", *named(program), "--max-steps", "2")
    (line,) = [line for line in ran.stderr.splitlines() if "with: perstack " in line]
    shell = f'perstack() {{ {shlex.join(PROGRAM)} "$@"; }}; {line.partition("with: ")[2]}'
    done = await anyio.run_process(
        ["sh", "-c", shell], cwd=program.workspace, env=dict(program.env), check=False
    )
    assert done.returncode == 0, done.stderr

"""Costs as a user sees them: on standard output, on the disk, at the end of plain lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.cli import SCRIPTED, Program, by_expert, calls, finishes
from tests.fakes.model_server import model_server
from tests.fakes.model_wire import Call, Reply

pytestmark = pytest.mark.anyio

TEAM: Final = """
model = "claude-sonnet-5-5"

[experts."lead"]
instruction = "You are lead."
delegates = ["helper"]

[experts."helper"]
instruction = "You are helper."
"""
PRICE: Final = """
[models."claude-sonnet-5-5"]
price = { input = 10000, output = 100000 }
"""
# A reply of the fake server reads 100 tokens and writes 20.
ONE: Final = (100 * 10_000 + 20 * 100_000) / 1_000_000
SCENARIO: Final = """
[defaults]
price = { input = 1000, output = 0 }

[[turns]]
turn = 1
text = "done"
calls = [{ tool = "attemptCompletion" }]
usage = { input_tokens = 1500 }
"""


async def test_steps_runs_and_jobs_say_what_they_cost_and_delegates_count_once(
    tmp_path: Path,
) -> None:
    said = {
        "lead": [calls(Call("helper", {"query": "help"})), *finishes("all done")],
        "helper": finishes("helped"),
    }
    async with model_server(decide=by_expert(said)) as server:
        program = Program.make(tmp_path, TEAM + PRICE, base_url=server.url)
        ran = await program.run("run", "lead", "go")
    assert ran.code == 0, ran.stderr
    first, *_ = ran.all("callTools")
    assert first["costUsd"] == ONE
    helped, done = ran.all("completeRun")
    # The helper's completion and its result are two generations of one step.
    assert (helped["step"]["costUsd"], helped["checkpoint"]["costUsd"]) == (2 * ONE, 2 * ONE)
    assert (done["step"]["costUsd"], done["checkpoint"]["costUsd"]) == (2 * ONE, 3 * ONE)
    assert done["costUsd"] == ONE
    (job,) = program.jobs()
    stored = json.loads((tmp_path / "perstack" / "jobs" / job / "job.json").read_text())
    assert stored["cost"] == {"usd": 5 * ONE, "partial": False}
    log = await program.run("log", "--job", job, "--summary")
    assert "$15.00" in log.stdout


async def test_what_nobody_prices_is_unknown(tmp_path: Path) -> None:
    async with model_server(Reply(["hello"])) as server:
        program = Program.make(tmp_path, TEAM, base_url=server.url)
        ran = await program.run("run", "helper", "go")
    done = ran.one("completeRun")
    assert done["costUsd"] is None
    assert done["checkpoint"]["costUsd"] is None
    assert done["usage"]["totalTokens"] == 120


async def test_cached_tokens_without_a_price_of_their_own_make_the_sum_partial(
    tmp_path: Path,
) -> None:
    replies = [calls("healthCheck"), Reply(["hello"], cached_tokens=50)]
    async with model_server(decide=by_expert({"helper": replies})) as server:
        program = Program.make(tmp_path, TEAM + PRICE, base_url=server.url)
        ran = await program.run("run", "helper", "go")
    done = ran.one("completeRun")
    assert done["costUsd"] is None
    assert (done["checkpoint"]["costUsd"], done["checkpoint"]["costPartial"]) == (ONE, True)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("odd", "tokens"), [({}, "unknown"), ({"input_tokens": 700}, "≥ 700")])
async def test_row_l15_what_the_vendor_did_not_count_is_never_said_to_be_free(
    tmp_path: Path, odd: dict[str, object], tokens: str
) -> None:
    async with model_server(decide=lambda _: Reply(["hello"], usage=odd)) as server:
        program = Program.make(tmp_path, TEAM + PRICE, base_url=server.url)
        ran = await program.run("start", "helper", "go", "--plain")
        kept = await program.run("run", "helper", "go", "--max-tokens", "100000")
        asked = len(server.requests)
    assert ran.code == 0, ran.stderr
    assert ran.stderr.splitlines()[-1].endswith(f"1 step, {tokens} tokens, cost unknown")
    # Without figures a budget cannot be kept: the second job ends with its first answer.
    assert (kept.code, asked) == (1, 2)
    assert "the job's budget cannot be kept" in kept.stderr
    jobs = json.loads((await program.run("jobs", "--json")).stdout)["jobs"]
    listed = (await program.run("jobs")).stdout.splitlines()[1:]
    assert all(f" {tokens} " in line and line.count("unknown") for line in listed)
    assert [job["cost"] for job in jobs] == [{"usd": 0.0, "partial": True}] * 2
    assert all(job["usage"]["partial"] for job in jobs)


async def test_plain_lines_end_with_what_the_job_used(tmp_path: Path) -> None:
    toml = SCRIPTED + TEAM.replace('model = "claude-sonnet-5-5"', "")
    program = Program.make(tmp_path, toml, scenario=SCENARIO)
    ran = await program.run("start", "helper", "go", "--plain")
    assert ran.code == 0, ran.stderr
    (job,) = program.jobs()
    assert ran.stderr.splitlines()[-1] == f"Job {job}: 1 step, 1,500 tokens, cost $1.50"

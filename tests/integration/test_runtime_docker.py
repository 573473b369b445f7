"""Jobs that a container drives, as far as that can be shown without an engine.

A stand-in for `docker` notes what it is asked, and runs the container's program as a process of
this machine (`tests.fakes.container_engine`). What a container is kept from, the tests with a real
engine show.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from tests.fakes.cli import ANTHROPIC_KEY, SCRIPTED, Program, is_subsequence
from tests.fakes.consensus import until
from tests.fakes.container_engine import StandIn, path_with, stand_in

pytestmark = pytest.mark.anyio

EXPERTS: Final = """
[experts.lead]
instruction = "Lead."
[experts.lead.skills.ask]
type = "interactiveSkill"
[experts.lead.skills.ask.tools.askUser]
description = "Asks"
inputJsonSchema = '{"type": "object", "properties": {"question": {"type": "string"}}}'
[experts.slow]
instruction = "Be slow."
"""
SCENARIO: Final = """
[[turns]]
expert = "lead"
turn = 1
text = "I write, and ask."
[[turns.calls]]
tool = "writeTextFile"
args = { path = "note.txt", text = "from inside" }
[[turns]]
expert = "lead"
turn = 2
text = "Which?"
[[turns.calls]]
tool = "askUser"
args = { question = "Which?" }
[[turns]]
expert = "lead"
turn = 3
text = "The blue one."
[[turns.calls]]
tool = "attemptCompletion"

[[turns]]
expert = "slow"
turn = 1
text = "I wait."
[[turns.calls]]
tool = "exec"
args = { command = "sleep", args = ["60"] }
"""
ON_DOCKER: Final = ("--runtime", "docker")


@pytest.fixture
def engine(tmp_path: Path) -> StandIn:
    return stand_in(tmp_path / "engine")


def project(tmp_path: Path, engine: StandIn, toml: str = SCRIPTED + EXPERTS) -> Program:
    """A project whose user has that engine, and temporary files of their own."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {"PATH": path_with(engine), "TMPDIR": str(temporary)}
    return Program.make(tmp_path / "w", toml, scenario=SCENARIO, env=env)


def runtime_of(engine: StandIn) -> dict[str, Any]:
    services: Any = engine.compose["services"]
    return services["runtime"]


async def test_a_container_drives_the_job_and_its_events_files_and_history_are_here(
    tmp_path: Path, engine: StandIn
) -> None:
    program = project(tmp_path, engine)
    ran = await program.run("run", "lead", "Go", *ON_DOCKER, "--job-id", "job1")
    assert ran.code == 0, ran.stderr
    order = ["startRun", "callTools", "resolveToolResults", "stopRunByInteractiveTool"]
    assert is_subsequence(order, ran.types())
    assert [event["seq"] for event in ran.events if "seq" in event] == list(
        range(sum("seq" in event for event in ran.events))
    )
    assert (program.workspace / "note.txt").read_text() == "from inside"
    assert program.jobs() == ["job1"]
    assert "A question waits" in ran.stderr
    again = await program.run("run", "lead", "Blue", *ON_DOCKER, "--continue-job", "job1", "-i")
    assert again.code == 0, again.stderr
    assert is_subsequence(["startRun", "completeRun"], again.types())
    assert again.one("completeRun")["text"] == "The blue one."
    assert again.one("startRun")["initialCheckpoint"]["status"] == "stoppedByInteractiveTool"
    assert ran.run_ids == again.run_ids
    assert not list((tmp_path / "tmp").glob("perstack-docker-*"))
    assert ["down" in call for call in engine.calls].count(True) == 2


async def test_ctrl_c_stops_the_container_at_a_checkpoint_and_takes_everything_down(
    tmp_path: Path, engine: StandIn
) -> None:
    program = project(tmp_path, engine)
    async with program.running("run", "slow", "Wait", *ON_DOCKER) as running:
        await running.until("callTools")
        running.send(signal.SIGINT)
        ran = await running.ended()
    assert ran.code == 130, ran.stderr
    assert ran.types()[-1] == "suspendRun"
    assert "Go on with" in ran.stderr
    assert any(call[:3] == ["kill", "--signal", "INT"] for call in engine.calls)
    assert "down" in engine.calls[-1]


@pytest.mark.long
async def test_a_container_that_is_killed_ends_the_run_with_a_reason_and_the_job_stays(
    tmp_path: Path, engine: StandIn
) -> None:
    program = project(tmp_path, engine)
    async with program.running("run", "slow", "Wait", *ON_DOCKER, "--job-id", "j") as running:
        await running.until("callTools")
        # As the kernel does where memory is short.
        os.killpg(int(engine.text("pid")), signal.SIGKILL)
        ran = await running.ended()
    assert ran.code == 1
    assert "the container ended with" in ran.stderr or "without a word" in ran.stderr
    assert "--continue-job j" in ran.stderr
    assert program.jobs() == ["j"]


async def test_no_key_is_in_a_file_or_an_argument_and_only_what_is_needed_is_given(
    tmp_path: Path, engine: StandIn
) -> None:
    toml = """
[provider]
providerName = "anthropic"
[experts.lead]
instruction = "Lead."
delegates = ["helper"]
[experts.helper]
description = "Helps"
instruction = "Help."
[experts.helper.skills.remote]
type = "mcpStdioSkill"
command = "true"
args = ["x"]
requiredEnv = ["HELPER_TOKEN"]
allowedDomains = ["api.helper.example", "*.wild.example"]
"""
    program = project(tmp_path, engine, toml)
    secrets = {
        "HELPER_TOKEN": "helper-canary-0123456789",
        "ASKED_FOR": "asked-canary-0123456789",
        "AWS_SECRET_ACCESS_KEY": "aws-canary-0123456789",
        "ANTHROPIC_BASE_URL": "",
    }
    words = ("run", "lead", "Go", *ON_DOCKER, "--env", "ASKED_FOR", "--max-retries", "0")
    # Nobody answers for the vendor: what is looked at is what the container was given.
    await program.run(*words, "--timeout", "1000", env=secrets)
    given = [name for name in runtime_of(engine)["environment"] if "=" not in name]
    assert given == ["ANTHROPIC_API_KEY", "ASKED_FOR", "HELPER_TOKEN"]
    written = [path.read_text() for path in engine.state.iterdir() if path.name != "calls.jsonl"]
    told = " ".join(written) + json.dumps(engine.calls)
    for value in (*secrets.values(), ANTHROPIC_KEY):
        assert not value or value not in told
    up = next(i for i, call in enumerate(engine.calls) if "up" in call)
    assert engine.environments[up]["HELPER_TOKEN"] == secrets["HELPER_TOKEN"]
    assert "AWS_SECRET_ACCESS_KEY" not in engine.environments[up]
    assert engine.text("allowed_domains.txt").split() == ["api.anthropic.com", "api.helper.example"]


async def test_missing_variables_are_told_before_anything_is_built(
    tmp_path: Path, engine: StandIn
) -> None:
    program = project(tmp_path, engine)
    ran = await program.run(
        "run", "lead", "Go", *ON_DOCKER, "--env", "NO_SUCH", "--env", "NOR_THIS"
    )
    assert ran.code == 1
    assert "Missing required environment variables: NO_SUCH, NOR_THIS" in ran.stderr
    assert engine.calls == []
    assert program.jobs() == []


@pytest.mark.long
async def test_images_are_built_once_and_verbose_shows_builds_and_what_the_proxy_decides(
    tmp_path: Path, engine: StandIn
) -> None:
    program = project(tmp_path, engine)
    first = await program.run("run", "lead", "Go", *ON_DOCKER, "--verbose")
    second = await program.run("run", "lead", "Go", *ON_DOCKER)
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert [call[0] for call in engine.calls].count("build") == 2
    assert "build: Step 1/9" in first.stderr
    assert "proxy: blocked evil.example:443 (Domain not in allowlist" in first.stderr
    assert "proxy: allowed api.anthropic.com:443" in first.stderr
    assert "build:" not in second.stderr
    (blocked,) = (one for one in first.all("proxyAccess") if one["action"] == "blocked")
    assert (blocked["domain"], blocked["port"]) == ("evil.example", 443)
    assert blocked["reason"].startswith("Domain not in allowlist")
    stages = [one["stage"] for one in first.all("dockerBuildProgress")]
    assert (stages[0], stages[-1], stages.count("complete")) == ("building", "complete", 2)
    fared = [one["status"] for one in first.all("dockerContainerStatus")]
    assert (fared[0], fared[-1]) == ("starting", "stopped")
    assert second.all("proxyAccess") == []


@pytest.mark.parametrize(
    ("broken", "says", "hint"),
    [
        ({"--version": "no such thing"}, "docker --version failed", "install Docker"),
        (
            {"info": "Cannot connect to the daemon"},
            "does not answer: Cannot connect",
            "start the engine",
        ),
        ({"info": "permission denied at the socket"}, "permission denied", "group docker"),
        (
            {"image inspect --format": "none", "pull": "no network"},
            "cannot be fetched",
            "baseImage",
        ),
        ({"build": "E: Unable to locate package squid"}, "could not be built", "--verbose"),
    ],
)
async def test_what_lacks_is_said_with_what_to_do_and_no_job_begins(
    tmp_path: Path, engine: StandIn, broken: dict[str, str], says: str, hint: str
) -> None:
    program = project(tmp_path, engine)
    engine.breaks(broken)
    ran = await program.run("run", "lead", "Go", *ON_DOCKER)
    assert ran.code == 1
    assert says in ran.stderr
    assert hint in ran.stderr
    assert ran.stdout == ""
    assert program.jobs() == []
    assert not list((tmp_path / "tmp").glob("perstack-docker-*"))


async def test_an_expert_of_another_program_is_refused_in_a_container(
    tmp_path: Path, engine: StandIn
) -> None:
    toml = f'runtime = "docker"\n{SCRIPTED}{EXPERTS}runtime = "cursor"\n'
    program = project(tmp_path, engine, toml)
    ran = await program.run("run", "slow", "Go")
    assert ran.code == 1
    assert "cursor" in ran.stderr
    assert not any("up" in call for call in engine.calls)


@pytest.mark.long
async def test_a_job_that_is_there_or_still_driven_is_not_driven_again(
    tmp_path: Path, engine: StandIn
) -> None:
    program = project(tmp_path, engine)
    async with program.running("run", "slow", "Wait", *ON_DOCKER, "--job-id", "j") as running:
        await running.until("callTools")
        twice = await program.run("run", "slow", "Go", *ON_DOCKER, "--continue-job", "j")
        assert twice.code == 4
        assert "a container or another process still drives job j" in twice.stderr
        running.send(signal.SIGTERM)
        assert (await running.ended()).code == 143
    same = await program.run("run", "slow", "Go", *ON_DOCKER, "--job-id", "j")
    assert same.code == 4
    assert "exists already" in same.stderr


async def test_a_job_that_a_container_was_around_comes_out_only_when_that_is_typed(
    tmp_path: Path, engine: StandIn
) -> None:
    program = project(tmp_path, engine)
    ran = await program.run("run", "lead", "Go", *ON_DOCKER, "--job-id", "job1")
    assert ran.code == 0, ran.stderr
    on = ("run", "lead", "Blue", "--continue-job", "job1", "-i")
    out = await program.run(*on)
    assert out.code == 1
    assert "job job1 ran in a container" in out.stderr
    assert "--runtime docker" in out.stderr
    typed = await program.run(*on, "--runtime", "perstack")
    assert typed.code == 0, typed.stderr
    assert typed.one("completeRun")["text"] == "The blue one."


@pytest.mark.long
async def test_what_fails_inside_fails_outside_in_the_same_words(
    tmp_path: Path, engine: StandIn
) -> None:
    program = project(tmp_path, engine)
    ran = await program.run("run", "lead", "Go", *ON_DOCKER, "--job-id", "j")
    assert ran.code == 0
    text = await program.run("run", "lead", "Blue", *ON_DOCKER, "--continue-job", "j")
    assert text.code == 1
    assert "the job waits for an answer to askUser" in text.stderr
    assert "give it with -i" in text.stderr


@pytest.mark.long
async def test_a_stop_while_images_are_built_leaves_a_job_that_can_be_gone_on_with(
    tmp_path: Path, engine: StandIn
) -> None:
    program = project(tmp_path, engine)
    engine.hangs("build")
    async with program.running("run", "lead", "Go", *ON_DOCKER, "--job-id", "j") as running:
        with anyio.fail_after(30):
            await until(lambda: any(call[0] == "build" for call in engine.calls))
        running.send(signal.SIGINT)
        ran = await running.ended()
    assert ran.code == 130, ran.stderr
    assert not any("up" in call for call in engine.calls)
    assert not list((tmp_path / "tmp").glob("perstack-docker-*"))
    engine.hangs(None)
    again = await program.run("run", "lead", "Go", *ON_DOCKER, "--continue-job", "j")
    assert again.code == 0, again.stderr
    assert "A question waits" in again.stderr


async def test_a_database_elsewhere_is_refused_since_no_container_reaches_it(
    tmp_path: Path, engine: StandIn
) -> None:
    program = project(tmp_path, engine)
    env = {"PERSTACK_DATABASE_URL": "postgresql://db.example/perstack"}
    ran = await program.run("run", "lead", "Go", *ON_DOCKER, env=env)
    assert ran.code == 1
    assert "unset PERSTACK_DATABASE_URL" in ran.stderr
    assert engine.calls == []


async def test_a_workspace_whose_path_could_mean_something_else_is_refused(
    tmp_path: Path, engine: StandIn
) -> None:
    program = project(tmp_path, engine)
    odd = tmp_path / "a$b"
    odd.mkdir()
    config = str(program.workspace / "perstack.toml")
    there = ("--workspace", str(odd), "--config", config)
    ran = await program.run("run", "lead", "Go", *ON_DOCKER, *there)
    assert ran.code == 1
    assert "cannot be given to a container" in ran.stderr

"""Jobs in real containers from outside: stopped, killed, approved, looked at, built once.

What containers may reach is in tests/conformance/test_perstack_docker_rows.py.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Final

import pytest
from anyio import to_thread

from tests.fakes.cli import ANTHROPIC_KEY, Json, by_expert, calls, finishes
from tests.fakes.docker_world import HOST_AWS_SECRET, DockerWorld
from tests.fakes.model_wire import Call
from tests.fakes.registry_server import registry_server
from tests.integration.test_registry_runs import Author

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("docker"),
]

TOML: Final = """
[consensus]
enabled = true
reviewerStrategy = "human"

[experts."solo"]
instruction = "You are solo."
[experts."solo".skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"

[experts."lead"]
instruction = "You are lead."
delegates = ["deployer"]
[experts."deployer"]
instruction = "You are deployer."

[experts."team"]
instruction = "You are team."
delegates = ["first", "second"]
[experts."first"]
instruction = "You are first."
[experts."second"]
instruction = "You are second."
"""


def sleeps(seconds: int) -> Call:
    return Call(
        "exec", {"command": "sleep", "args": [str(seconds)], "timeout": 300_000}, "sleeping"
    )


def runtime_container(world: DockerWorld) -> Json:
    """The container that drives the job, as the engine describes it."""
    described: list[Json] = [
        json.loads(world.engine.docker.run("inspect", each))[0] for each in world.containers()
    ]
    (one,) = [each for each in described if each["Name"].endswith("-runtime")]
    return one


async def test_a_stop_leaves_a_checkpoint_and_no_container_and_the_job_goes_on(
    containers: DockerWorld, tmp_path: Path
) -> None:
    program = containers.program(tmp_path, TOML)
    said = [calls(sleeps(200)), calls("attemptCompletion"), *finishes("Went on.")]
    async with containers.vendor(by_expert({"solo": said})):
        async with program.running("run", "solo", "wait") as running:
            await running.until("callTools")
            looked = await to_thread.run_sync(runtime_container, containers)
            running.send(signal.SIGINT)
            stopped = await running.ended()
        assert stopped.code == 130, stopped.stderr
        assert await to_thread.run_sync(containers.containers) == []
        assert await to_thread.run_sync(containers.networks) == []
        assert "--continue-job" in stopped.stderr
        again = await program.run("run", "solo", "go on", "--continue-job", stopped.job_id)
    assert again.code == 0, again.stderr
    assert again.job_id == stopped.job_id
    assert program.jobs() == [stopped.job_id]
    assert_hardened(looked, tmp_path)


def assert_hardened(container: Json, workspace: Path) -> None:
    """Check how the engine itself describes what a container may do, and what it was given."""
    host = container["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["ReadonlyRootfs"]
    assert host["Memory"] == 1024 * 1024 * 1024
    assert host["NanoCpus"] == 2_000_000_000
    assert host["PidsLimit"] == 256
    assert {"/tmp"} < set(host["Tmpfs"])
    mounts = {each["Source"]: each["RW"] for each in container["Mounts"] if each["Type"] == "bind"}
    assert [source for source, writable in mounts.items() if writable] == [str(workspace)]
    assert not [source for source in mounts if source.endswith(".sock")]
    assert list(container["NetworkSettings"]["Networks"]) == [
        name for name in container["NetworkSettings"]["Networks"] if name.endswith("inside")
    ]
    # The key is the container's, and stands nowhere else that others look at.
    words = [container["Path"], *container["Args"], *container["Config"]["Labels"].values()]
    assert not [word for word in words if ANTHROPIC_KEY in word]
    assert HOST_AWS_SECRET not in json.dumps(container)


async def test_a_killed_program_s_job_goes_on_and_its_container_is_cleared_away(
    containers: DockerWorld, tmp_path: Path
) -> None:
    program = containers.program(tmp_path, TOML)
    said = [calls(sleeps(250)), calls("attemptCompletion"), *finishes("Went on.")]
    async with containers.vendor(by_expert({"solo": said})):
        async with program.running("run", "solo", "wait") as running:
            await running.until("callTools")
            running.send(signal.SIGKILL)
            killed = await running.ended()
        assert killed.code == -signal.SIGKILL
        assert await to_thread.run_sync(containers.containers) != []
        again = await program.run("run", "solo", "go on", "--continue-job", killed.job_id)
    assert again.code == 0, again.stderr
    assert again.job_id == killed.job_id
    assert await to_thread.run_sync(containers.containers) == []
    assert await to_thread.run_sync(containers.networks) == []


async def test_approving_on_the_host_releases_a_gate_inside(
    containers: DockerWorld, tmp_path: Path
) -> None:
    os.chown(tmp_path, 1000, 1000)
    program = containers.program(tmp_path, TOML)
    asks = calls(Call("deployer", {"query": "deploy to production"}))
    decide = by_expert({"lead": [asks, *finishes("Shipped.")], "deployer": finishes("Deployed.")})
    async with containers.vendor(decide), program.running("run", "lead", "ship") as running:
        asked = await running.until("requestApproval")
        approved = await program.run("consensus", "approve", asked["consensusId"])
        assert approved.code == 0, approved.stderr
        ran = await running.ended()
    assert ran.code == 0, ran.stderr
    assert ran.all("completeRun")[-1]["text"] == "Shipped."
    listed = await program.run("log", "--job", ran.job_id)
    assert "deployer" in listed.stdout


async def test_the_last_of_many_runs_is_what_the_job_comes_to_and_nothing_is_built_again(
    containers: DockerWorld, tmp_path: Path
) -> None:
    program = containers.program(tmp_path, TOML)
    both = calls(Call("first", {"query": "one"}), Call("second", {"query": "two"}))
    decide = by_expert(
        {
            "team": [both, *finishes("Both are done.")],
            "first": finishes("First."),
            "second": finishes("Second."),
        }
    )
    async with containers.vendor(decide):
        first = await program.run("run", "team", "go", "--verbose")
        images = await to_thread.run_sync(containers.images)
        second = await program.run("run", "team", "go", "--verbose")
    for ran in (first, second):
        assert ran.code == 0, ran.stderr
        assert len(ran.all("completeRun")) == 3
        assert ran.all("completeRun")[-1]["text"] == "Both are done."
        assert "allowed api.anthropic.com" in ran.stderr
    assert await to_thread.run_sync(containers.images) == images
    assert "build: making" not in second.stderr
    assert ANTHROPIC_KEY not in first.stderr + second.stderr


async def test_what_is_blocked_is_told_while_it_happens(
    containers: DockerWorld, tmp_path: Path
) -> None:
    program = containers.program(tmp_path, TOML)
    fetch = Call("exec", {"command": "curl", "args": ["-m", "8", "https://blocked.evil.example/"]})
    async with containers.vendor(by_expert({"solo": [calls(fetch), *finishes("Tried.")]})):
        ran = await program.run("run", "solo", "go", "--verbose")
    assert ran.code == 0, ran.stderr
    assert "blocked blocked.evil.example" in ran.stderr
    assert "Domain not in allowlist" in ran.stderr


async def test_a_job_begun_here_goes_on_in_a_container_and_back(
    containers: DockerWorld, tmp_path: Path
) -> None:
    program = containers.program(tmp_path, TOML)
    said = [each for _ in range(3) for each in finishes("Done.")]
    async with containers.vendor(by_expert({"solo": said})) as vendor:
        here = {"ANTHROPIC_BASE_URL": vendor.url}
        began = await program.run("run", "solo", "one", "--runtime", "perstack", env=here)
        goes_on = ("--continue-job", began.job_id)
        inside = await program.run("run", "solo", "two", *goes_on)
        back = await program.run("run", "solo", "3", *goes_on, "--runtime", "perstack", env=here)
    for ran in (began, inside, back):
        assert ran.code == 0, ran.stderr
        assert ran.job_id == began.job_id
    assert program.jobs() == [began.job_id]


async def test_an_expert_of_a_registry_works_in_a_container_with_one_of_the_file(
    containers: DockerWorld, tmp_path: Path
) -> None:
    toml = '[experts."lead"]\ninstruction = "You are lead."\ndelegates = ["@acme/helper"]\n'
    asks = calls(Call("helper", {"query": "help"}, "asking"))
    led = [asks, *finishes("Led."), *finishes("Went on.")]
    said = {"lead": led, "helper": finishes("Helped.")}
    async with registry_server(tmp_path / "registry") as registry:
        await Author(registry).publish("@acme/helper", instruction="You are helper.")
        where = {"PERSTACK_API_BASE_URL": registry.url}
        program = containers.program(tmp_path / "work", toml, env=where)
        async with containers.vendor(by_expert(said)):
            refused = await program.run("run", "lead", "go")
            ran = await program.run("run", "lead", "go", "--yes")
            (job,) = program.jobs()
    # The registry is gone: what was fetched is kept.
    async with containers.vendor(by_expert(said)):
        again = await program.run("run", "lead", "go on", "--continue-job", job)
    assert (refused.code, ran.code, again.code) == (1, 0, 0), (ran.stderr, again.stderr)
    assert "run @acme/helper@1.0.0" in refused.stderr
    ends = [(event["expertKey"], event["text"]) for event in ran.all("completeRun")]
    assert ends == [("@acme/helper", "Helped."), ("lead", "Led.")]

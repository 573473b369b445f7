"""What strangers try with a registry: cloned repositories, publishers, thieves of keys."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from perstack.storage.history.codec import seal, unseal
from tests.fakes.cli import Program
from tests.fakes.registry_calls import calling, expert_in, reason_in
from tests.fakes.registry_server import RegistryServer, registry_server
from tests.integration.test_registry_runs import (
    LEAD,
    SCENARIO,
    SCRIPTED,
    Author,
    check,
    in_empty_folder,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[RegistryServer]:
    async with registry_server(tmp_path / "registry") as server:
        yield server


@pytest.fixture
def empty(tmp_path: Path, server: RegistryServer) -> Program:
    return in_empty_folder(tmp_path / "empty", server.url)


def forge(program: Program, said: bytes, instead: bytes) -> int:
    """Change what jobs began with, as who hands on a folder could; return how many."""
    forged = 0
    for path in (program.workspace / "perstack").rglob("run-setting.json"):
        if said in (record := unseal(path.read_bytes().strip()) or b""):
            path.write_bytes(seal(record.replace(said, instead)) + b"\n")
            forged += 1
    return forged


async def test_a_job_of_a_cloned_folder_cannot_pose_as_an_expert_that_was_accepted(
    server: RegistryServer, empty: Program
) -> None:
    await Author(server).publish("@acme/tool")
    began = await empty.run("run", "@acme/tool", "go", "--yes", *SCRIPTED)
    check(began, 0)
    more = ("run", "@acme/tool", "more", "--continue-job", began.job_id, "--own-definitions")
    check(await empty.run(*more, *SCRIPTED), 0)
    assert forge(empty, b"You play.", b"Obey me!!")
    check(await empty.run(*more, *SCRIPTED), 1, "run @acme/tool@1.0.0")


async def test_a_lock_accepts_what_it_pins_and_not_what_a_job_claims_to_be_that(
    server: RegistryServer, tmp_path: Path
) -> None:
    await Author(server).publish("@acme/helper")
    env = {"PERSTACK_API_BASE_URL": server.url}
    team = Program.make(tmp_path / "team", LEAD, scenario=SCENARIO, env=env)
    began = await team.run("run", "lead", "go", "--config", "perstack.toml", "--yes")
    check(began, 0)
    elsewhere = {"XDG_STATE_HOME": str(tmp_path / "state")}
    more = ("run", "lead", "on", "--continue-job", began.job_id, "--own-definitions")
    named = (*more, "--config", "perstack.toml")
    check(await team.run(*named, env=elsewhere), 0)
    assert forge(team, b"You play.", b"Obey me!!")
    check(await team.run(*named, env=elsewhere), 1, "run @acme/helper@1.0.0")


async def test_a_key_that_may_only_publish_leads_nobody_elsewhere_who_follows_a_tag(
    server: RegistryServer,
) -> None:
    async with calling(server.url, server.key("acme")) as owner:
        expert_in(await owner.publish(tags=["stable"]))
    async with calling(server.url, server.key("acme", scopes=["publish"])) as robot:
        assert "scope manage" in reason_in(
            await robot.publish(version="1.1.0", tags=["stable"]), 401
        )
        assert expert_in(await robot.find("@acme/writer@stable"))["version"] == "1.0.0"
        expert_in(await robot.publish(version="1.1.0", tags=["latest", "beta"]))


async def test_what_info_has_shown_is_what_is_run(
    server: RegistryServer, empty: Program, tmp_path: Path
) -> None:
    await Author(server).publish("@acme/tool", instruction="You play.")
    check(await empty.run("info", "@acme/tool"), 0)
    port = server.port
    server.stop()
    async with registry_server(tmp_path / "two-faced", port=port) as other:
        await Author(other).publish("@acme/tool", instruction="You steal.")
        ran = await empty.run("run", "@acme/tool", "go", "--yes", *SCRIPTED)
        check(ran, 1, "@acme/tool@1.0.0 is not what")
        check(await empty.run("info", "@acme/tool"), 1, "@acme/tool@1.0.0 is not what")

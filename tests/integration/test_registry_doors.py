"""Experts of a registry at the other doors: REST, MCP, `import perstack`, services that run them.

The registry is a real one, over HTTP; the model is the scripted one, which says so.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import pytest
from httpx2 import AsyncClient

import perstack
from perstack.config.registry_place import RegistryPlace
from perstack.config.untrusted import UntrustedError
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import PublishRequest, parse_key
from perstack.errors import ConflictError, RegistryMissingError, RegistryUnreachableError
from perstack.fetching import accept_fetched, fetched
from perstack.integrations.registry_client import HttpRegistry
from perstack.project import Project, open_project
from tests.fakes.consensus import until
from tests.fakes.mcp_door import door, text_of
from tests.fakes.no_registry import NO_REGISTRY
from tests.fakes.registry_server import RegistryServer, registry_server
from tests.fakes.registry_wire import registry_wire, silent
from tests.fakes.rest_answers import API, Json, becomes, data
from tests.fakes.rest_door import rest, rest_door

pytestmark = pytest.mark.anyio

JOBS: Final = f"{API}/jobs"
TOML: Final = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
[experts.lead]
description = "Leads."
instruction = "You lead."
"""
LEADS: Final = f'{TOML}delegates = ["@acme/player"]\n'
SCENARIO: Final = """
[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "player", args = { query = "play" } }]
[[turns]]
expert = "lead"
text = "Led."
[[turns]]
text = "Played."
"""


class Published:
    """A registry with `@acme/player`, which delegates to `@acme/judge`."""

    def __init__(self, server: RegistryServer) -> None:
        self.server = server
        self.key = server.key("acme")

    async def publish(self, name: str, *, delegates: Sequence[str] = ()) -> None:
        request = PublishRequest(
            name=name,
            version="1.0.0",
            description="Does its part.",
            instruction="Do your part.",
            skills={"@perstack/base": {"type": "baseSkill"}},
            delegates=tuple(delegates),
        )
        async with self.client() as registry:
            await registry.publish(request)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[HttpRegistry]:
        """Ask it as its author."""
        registry = HttpRegistry(RegistryPlace(self.server.url, self.key))
        try:
            yield registry
        finally:
            await registry.aclose()


@pytest.fixture
async def published(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Published]:
    async with registry_server(tmp_path_factory.mktemp("registry")) as server:
        monkeypatch.setenv("PERSTACK_API_BASE_URL", server.url)
        made = Published(server)
        await made.publish("@acme/judge")
        await made.publish("@acme/player", delegates=["@acme/judge"])
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    (tmp_path / "perstack.toml").write_text(TOML)
    return tmp_path


async def accept(folder: Path, *keys: str) -> None:
    """Do what a user does with `perstack run KEY QUERY --yes`."""
    project = await anyio.to_thread.run_sync(open_project, folder, None)
    whole = await fetched(project, [ExpertKey(key) for key in keys])
    await anyio.to_thread.run_sync(lambda: accept_fetched(whole, by="yes"))


async def post(client: AsyncClient, expert: str, status: int) -> Json:
    answered = await client.post(JOBS, json={"expert": expert, "query": "go"})
    assert answered.status_code == status, answered.text
    return answered.json()


async def ended(client: AsyncClient, begun: Json) -> Json:
    job = begun["data"]["jobId"]
    return await becomes(client, f"/jobs/{job}", lambda seen: seen["state"] == "completed")


# ---------------------------------------------------------------- REST


async def test_rest_runs_an_expert_of_the_registry_once_it_is_accepted(
    published: Published, folder: Path
) -> None:
    async with rest(folder, TOML) as client:
        said = await post(client, "@acme/player", 400)
        assert said["code"] == "config.untrusted"
        assert "@acme/player@1.0.0" in said["error"]
        assert "@acme/judge@1.0.0" in said["error"]
        assert "who runs the server accepts it there" in said["hint"]
        assert data(await client.get(JOBS)) == []

        await accept(folder, "@acme/player")
        done = await ended(client, await post(client, "@acme/player", 202))
        assert (done["expert"], done["text"]) == ("@acme/player", "Played.")


async def test_rest_says_what_the_registry_does_not_have_and_that_it_is_not_there(
    published: Published, folder: Path
) -> None:
    async with rest(folder, TOML) as client:
        missing = await post(client, "@acme/nobody", 404)
        assert missing["code"] == "registry.not_found"
        assert "'@acme/nobody' not found here" in missing["error"]
        assert (await post(client, "@Acme/player", 400))["code"] == "config.unknown_expert"
        published.server.stop()
        gone = await post(client, "@acme/player@1.0.0", 502)
        assert gone["code"] == "registry.unreachable"
        assert (await ended(client, await post(client, "coder", 202)))["text"] == "Played."


async def test_rest_tells_the_warnings_and_goes_on_with_such_a_job(
    published: Published, folder: Path
) -> None:
    await accept(folder, "@acme/player@1.0.0")
    async with published.client() as registry:
        await registry.set_status(parse_key("@acme/player@1.0.0"), "deprecated")
    async with rest(folder, TOML) as client:
        begun = await post(client, "@acme/player@1.0.0", 202)
        assert any("deprecated" in text for text in begun["data"]["warnings"])
        done = await ended(client, begun)
        published.server.stop()
        more = f"{JOBS}/{done['jobId']}/continue"
        again = data(await client.post(more, json={"text": "more"}), 202)
        assert any("cannot be reached" in text for text in again["warnings"])
        assert (await ended(client, {"data": again}))["text"] == "Played."


async def test_a_delegate_that_is_saved_while_the_server_runs_is_fetched_by_the_next_job(
    published: Published, folder: Path
) -> None:
    async with rest(folder, TOML) as client:
        await ended(client, await post(client, "coder", 202))
        (folder / "perstack.toml").write_text(LEADS)
        await becomes(client, "/experts/lead", lambda seen: seen["delegates"] == ["@acme/player"])
        assert "@acme/player@1.0.0" in (await post(client, "lead", 400))["error"]
        await accept(folder, "lead")
        done = await ended(client, await post(client, "lead", 202))
        runs = data(await client.get(f"{JOBS}/{done['jobId']}/runs"))

    assert [run["expert"] for run in runs] == ["lead", "@acme/player"]
    assert done["text"] == "Led."
    assert '[registry."@acme/player"]' in (folder / "perstack.lock").read_text()


async def test_a_job_that_waits_for_the_registry_is_stopped_with_the_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Json] = []
    with registry_wire(silent) as wire:
        monkeypatch.setenv("PERSTACK_API_BASE_URL", wire.url)
        async with rest_door(folder, TOML) as opened, anyio.create_task_group() as group:

            async def ask() -> None:
                told.append(await post(opened.client, "@acme/player", 409))

            group.start_soon(ask)
            await until(lambda: bool(wire.asked))
            with anyio.fail_after(8):
                await opened.jobs.stop_all()
    assert told[0]["error"] == "the job was stopped before it began"


# ---------------------------------------------------------------- MCP


async def test_mcp_runs_an_expert_of_the_registry_once_it_is_accepted(
    published: Published, folder: Path
) -> None:
    async with door(folder, TOML) as opened:
        asked = {"expert": "@acme/player", "query": "go"}
        refused = await opened.result("expert_run", asked)
        assert refused.is_error
        assert "config.untrusted" in text_of(refused)
        assert "@acme/judge@1.0.0" in text_of(refused)

        await accept(folder, "@acme/player")
        done = await opened.call("expert_run", asked)
        assert (done["text"], done["warnings"]) == ("Played.", [])
        async with published.client() as registry:
            await registry.set_status(parse_key("@acme/judge@1.0.0"), "deprecated")
        more = await opened.call("job_continue", {"jobId": done["jobId"], "text": "more"})
        assert any("@acme/judge@1.0.0" in text for text in more["warnings"])


async def test_mcp_refuses_what_is_disabled(published: Published, folder: Path) -> None:
    await accept(folder, "@acme/player")
    async with published.client() as registry:
        await registry.set_status(parse_key("@acme/player@1.0.0"), "deprecated")
        await registry.set_status(parse_key("@acme/player@1.0.0"), "disabled")
    async with door(folder, TOML) as opened:
        refused = await opened.result("expert_run", {"expert": "@acme/player", "query": "go"})

    assert refused.is_error
    assert "disabled" in text_of(refused)


async def test_an_agent_runs_what_its_experts_delegate_to_of_the_registry(
    published: Published, folder: Path
) -> None:
    async with rest(folder, LEADS) as client:
        agent = data(await client.post(f"{API}/agents", json={"type": "lead"}), 201)
        execute = f"{API}/agents/{agent['agent']['id']}/execute"
        refused = await client.post(execute, json={"task": "go"})
        assert (refused.status_code, refused.json()["code"]) == (400, "config.untrusted")
        assert "@acme/player@1.0.0" in refused.json()["error"]
        await accept(folder, "lead")
        assert data(await client.post(execute, json={"task": "go"}))["response"] == "Led."


async def test_an_agent_is_spawned_of_an_expert_of_the_registry(
    published: Published, folder: Path
) -> None:
    async with rest(folder, TOML) as client:
        spawn = {"type": "@acme/player@latest"}
        refused = await client.post(f"{API}/agents", json=spawn)
        assert (refused.status_code, refused.json()["code"]) == (400, "config.untrusted")
        await accept(folder, "@acme/player")
        agent = data(await client.post(f"{API}/agents", json=spawn), 201)["agent"]
        execute = f"{API}/agents/{agent['id']}/execute"
        assert data(await client.post(execute, json={"task": "go"}))["response"] == "Played."
        unknown = await client.post(f"{API}/agents", json={"type": "@acme/nobody"})
        assert unknown.json()["error"] == "Unknown agent type: @acme/nobody"
        plain = await client.post(f"{API}/agents", json={"type": "nobody"})
        assert plain.json()["error"] == "Unknown agent type: nobody"

    # Another process finds the agent, and its type in the registry, again.
    async with rest(folder, TOML) as client:
        assert data(await client.post(execute, json={"task": "more"}))["response"] == "Played."
        async with published.client() as registry:
            await registry.set_status(parse_key("@acme/player@1.0.0"), "deprecated")
            await registry.set_status(parse_key("@acme/player@1.0.0"), "disabled")
        disabled = await client.post(execute, json={"task": "again"})
        assert disabled.status_code == 502
        assert "disabled" in disabled.json()["error"]


# ---------------------------------------------------------------- import perstack


def loaded(folder: Path, toml: str = TOML, *, accept_registry: bool = False) -> Project:
    (folder / "perstack.toml").write_text(toml)
    return perstack.load_project(folder / "perstack.toml", accept_registry=accept_registry)


async def test_a_program_runs_an_expert_of_the_registry_that_it_accepts(
    published: Published, folder: Path
) -> None:
    with pytest.raises(UntrustedError, match=r"@acme/player@1\.0\.0") as told:
        await perstack.run(loaded(folder), "@acme/player", "go")
    assert "accept_registry=True" in (told.value.hint or "")
    accepting = loaded(folder, accept_registry=True)
    ran = await perstack.run(accepting, "@acme/player", "go")
    assert ran.outcome.text == "Played."
    # It was accepted once and for all.
    job = perstack.go_on(loaded(folder), ran.job_id, text="more")
    async with job:
        keys = {event.expert_key async for event in job}
    assert keys == {"@acme/player"}
    assert 'accepted = "yes"' in (folder / "perstack.lock").read_text()


async def test_a_program_is_told_what_the_registry_does_not_have(
    published: Published, folder: Path
) -> None:
    with pytest.raises(RegistryMissingError, match="not found here"):
        await perstack.run(loaded(folder), "@acme/nobody", "go")


async def test_without_the_registry_a_program_runs_what_is_kept(
    published: Published, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    project = loaded(folder, LEADS, accept_registry=True)
    assert (await perstack.run(project, "lead", "go")).outcome.text == "Led."
    published.server.stop()
    assert (await perstack.run(project, "lead", "go")).outcome.text == "Led."
    assert "cannot be reached" in caplog.text
    with pytest.raises(RegistryUnreachableError):
        await perstack.run(project, "@acme/never-seen", "go")


async def test_a_block_that_is_left_waits_for_no_registry(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry_wire(silent) as wire:
        monkeypatch.setenv("PERSTACK_API_BASE_URL", wire.url)
        with anyio.fail_after(8), pytest.raises(ConflictError, match="before it began"):
            async with perstack.start(loaded(folder), "@acme/player", "go"):
                await until(lambda: bool(wire.asked))


async def test_services_of_a_program_run_what_their_experts_delegate_to(
    published: Published, folder: Path
) -> None:
    project = loaded(folder, LEADS, accept_registry=True)
    async with perstack.coordinate(project) as team:
        agent = await team.agents.spawn("lead", name="bob")
        done = await team.execution.execute("go", agent.id)
        assert done.response == "Led."


async def test_an_expert_without_delegates_of_a_registry_asks_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSTACK_API_BASE_URL", NO_REGISTRY)
    project = loaded(folder, TOML)
    assert (await perstack.run(project, "coder", "go")).outcome.text == "Played."

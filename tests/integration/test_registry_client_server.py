"""The client against the real server, over HTTP: every call of the API.

What it refuses is in `test_registry_refusals`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from perstack.config.registry_place import RegistryPlace
from perstack.domain.registry import ExpertQuery, parse_key
from perstack.errors import (
    RegistryMissingError,
    RegistryRefusedError,
    RegistryUnreachableError,
)
from perstack.integrations.registry_client import HttpRegistry
from tests.fakes.registry_refusals import BASE, version
from tests.fakes.registry_server import RegistryServer, registry_server

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[RegistryServer]:
    async with registry_server(tmp_path / "registry", orgs=("acme", "other")) as server:
        yield server


@asynccontextmanager
async def asking(server: RegistryServer, key: str | None) -> AsyncGenerator[HttpRegistry]:
    registry = HttpRegistry(RegistryPlace(server.url, key))
    try:
        yield registry
    finally:
        await registry.aclose()


async def test_every_call_of_the_api_does_what_it_says(server: RegistryServer) -> None:
    async with asking(server, server.key("acme")) as acme, asking(server, None) as reader:
        judge = await acme.publish(version("@acme/judge"))
        request = version(
            "@acme/player",
            description="Plays \u2014 \U0001f3b2.",
            skills={**BASE, "web": {"type": "mcpStdioSkill", "command": "npx", "packageName": "x"}},
            delegates=["@acme/judge@1.0.0"],
        )
        made = await acme.publish(request)
        assert made.definition == request.definition
        assert made.integrity == request.definition.integrity
        assert (made.owner.name, made.status, made.tags) == ("acme", "available", ("latest",))
        await acme.publish(version("@acme/player", "1.1.0-beta+build.5"))

        player = parse_key("@acme/player")
        assert await reader.find(player.at("1.0.0")) == made
        tagged = await acme.set_tags(player.at("1.0.0"), ["stable", "good"])
        assert set(tagged.tags) - {"latest"} == {"stable", "good"}
        assert (await reader.find(parse_key("@acme/player@stable"))).version == "1.0.0"
        old = await acme.set_status(player.at("1.0.0"), "deprecated")
        assert old.status == "deprecated"
        listed = await reader.versions(player)
        assert {each.version for each in listed.versions} == {"1.0.0", "1.1.0-beta+build.5"}
        assert listed.latest is not None
        assert (await reader.find(player)).version == listed.latest

        page = await reader.search(ExpertQuery(filter="player", order="desc", take=1))
        assert ([each.name for each in page.experts], page.total) == (["@acme/player"], 1)
        mine = ExpertQuery(organization_id=judge.owner.organization_id, sort="createdAt")
        assert (await reader.search(mine)).total == 2

        await acme.unpublish(player.at("1.1.0-beta+build.5"))
        with pytest.raises(RegistryMissingError):
            await reader.find(player.at("1.1.0-beta+build.5"))


async def test_an_organisation_without_a_name_publishes_without_a_scope(
    server: RegistryServer,
) -> None:
    async with asking(server, server.key(None)) as nameless:
        made = await nameless.publish(version("tic-tac-toe"))
        assert (await nameless.find(parse_key("tic-tac-toe"))).definition == made.definition
        assert made.owner.name is None


async def test_a_private_registry_is_read_with_a_key_alone(tmp_path: Path) -> None:
    async with registry_server(tmp_path / "private", private=True) as server:
        async with asking(server, server.key("acme", scopes=("read",))) as reader:
            assert (await reader.search(ExpertQuery())).total == 0
        async with asking(server, None) as nobody:
            with pytest.raises(RegistryRefusedError, match="an API key is needed") as told:
                await nobody.search(ExpertQuery())
    assert "perstack login" in (told.value.hint or "")


async def test_of_two_publishers_of_one_version_one_wins(server: RegistryServer) -> None:
    won: list[str] = []
    lost: list[RegistryRefusedError] = []

    async def race(registry: HttpRegistry, instruction: str) -> None:
        try:
            made = await registry.publish(version("@acme/race", instruction=instruction))
            won.append(made.instruction)
        except RegistryRefusedError as error:
            lost.append(error)

    async with (
        asking(server, server.key("acme")) as first,
        asking(server, server.key("acme")) as second,
    ):
        async with anyio.create_task_group() as group:
            group.start_soon(race, first, "One.")
            group.start_soon(race, second, "Two.")
        found = await first.find(parse_key("@acme/race@1.0.0"))

    assert (len(won), len(lost)) == (1, 1)
    assert found.instruction == won[0]
    assert "raise version =" in (lost[0].hint or "")


async def test_a_server_that_is_stopped_is_told_as_unreachable(server: RegistryServer) -> None:
    async with asking(server, None) as registry:
        await registry.search(ExpertQuery())
        await anyio.to_thread.run_sync(server.stop)
        with pytest.raises(RegistryUnreachableError):
            await registry.search(ExpertQuery())

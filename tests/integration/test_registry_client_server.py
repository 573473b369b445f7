"""The client against the real server, over HTTP: every call of the API, every reason it has."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import pytest

from perstack.config.registry_place import RegistryPlace
from perstack.domain.registry import ExpertQuery, PublishRequest, parse_key
from perstack.errors import (
    RegistryMissingError,
    RegistryRefusedError,
    RegistryUnreachableError,
)
from perstack.integrations.registry_client import HttpRegistry
from perstack.services.registry import publishing
from tests.fakes.registry_server import RegistryServer, registry_server

pytestmark = pytest.mark.anyio

Deed = Callable[[HttpRegistry], Awaitable[object]]
BASE: Final = {"@perstack/base": {"type": "baseSkill"}}


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


def version(name: str, number: str = "1.0.0", **more: object) -> PublishRequest:
    said = {"name": name, "version": number, "instruction": "Play.", "skills": BASE, **more}
    return PublishRequest.model_validate(said)


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


async def prepared(server: RegistryServer) -> None:
    """Publish what the refusals are about."""
    async with asking(server, server.key("acme")) as acme:
        await acme.publish(version("@acme/judge"))
        await acme.publish(version("@acme/player", delegates=["@acme/judge"]))
        await acme.publish(version("@acme/gone"))
        await acme.unpublish(parse_key("@acme/gone@1.0.0"))
        await acme.publish(version("@acme/old"))
        await acme.set_status(parse_key("@acme/old@1.0.0"), "deprecated")
        await acme.publish(version("@acme/off"))
        await acme.set_status(parse_key("@acme/off@1.0.0"), "deprecated")
        await acme.set_status(parse_key("@acme/off@1.0.0"), "disabled")
    async with asking(server, server.key(None)) as nameless:
        await nameless.publish(version("mine"))


def tag(key: str, *tags: str) -> Deed:
    return lambda registry: registry.set_tags(parse_key(key), tags)


def publish(name: str, number: str = "1.0.0", **more: object) -> Deed:
    return lambda registry: registry.publish(version(name, number, **more))


REFUSALS: Final[tuple[tuple[str | None, Deed, int, str, str], ...]] = (
    ("acme", publish("@acme/player"), 400, "already published", "raise version ="),
    (
        "acme",
        publish("@acme/gone", instruction="Another."),
        400,
        "published with other content",
        "raise version =",
    ),
    ("other", publish("@acme/player", "2.0.0"), 400, "not owned", "only its owner"),
    ("other", tag("@acme/player@1.0.0", "x"), 400, "not owned", "only its owner"),
    ("", publish("mine"), 400, "already taken", "@organisation/name"),
    ("", publish("@acme/mine"), 400, "must not be scoped", "leave @organisation/ out"),
    ("acme", publish("mine-too"), 400, "must be scoped", "@organisation/name"),
    ("acme", publish("@acme/bare", skills={}), 400, "@perstack/base is required", "the skill"),
    (
        "acme",
        publish("@acme/lead", delegates=["@acme/nobody"]),
        400,
        "the delegate @acme/nobody is not found",
        "publish the delegate first",
    ),
    (
        "acme",
        lambda registry: registry.unpublish(parse_key("@acme/judge@1.0.0")),
        400,
        "still delegated to by @acme/player",
        "perstack status KEY deprecated",
    ),
    ("acme", tag("@acme/player@1.0.0", "latest"), 400, "by hand", "moves by itself"),
    (
        "acme",
        lambda registry: registry.set_status(parse_key("@acme/old@1.0.0"), "deprecated"),
        400,
        "same status",
        "nothing to change",
    ),
    (
        "acme",
        lambda registry: registry.set_status(parse_key("@acme/old@1.0.0"), "available"),
        400,
        "cannot go back",
        "publish another version",
    ),
    (
        "acme",
        lambda registry: registry.set_status(parse_key("@acme/off@1.0.0"), "available"),
        400,
        "immutable",
        "publish another version",
    ),
    ("acme", tag("@acme/player", "x"), 422, "a version is needed", "correct it"),
    (
        "acme",
        lambda registry: registry.find(parse_key("@acme/nobody")),
        404,
        "@acme/nobody is not found",
        "perstack search",
    ),
    (
        "acme",
        lambda registry: registry.find(parse_key("@acme/player@beta")),
        404,
        "@acme/player@beta is not found",
        "perstack versions",
    ),
    (
        "acme",
        lambda registry: registry.versions(parse_key("@acme/nobody")),
        404,
        "@acme/nobody is not found",
        "perstack search",
    ),
    (None, publish("@acme/x"), 401, "an API key is needed", "perstack login"),
    ("unknown", publish("@acme/x"), 401, "not known", "perstack login"),
    ("revoked", publish("@acme/x"), 401, "was revoked", "another key"),
    ("expired", publish("@acme/x"), 401, "has expired", "another key"),
    ("reads", publish("@acme/x"), 401, "lacks the scope", "a key that may"),
)


def key_of(server: RegistryServer, whose: str | None) -> str | None:
    match whose:
        case None:
            return None
        case "":
            return server.key(None)
        case "unknown":
            key = server.key("acme")
            return key[:-4] + ("aaaa" if not key.endswith("aaaa") else "bbbb")
        case "revoked":
            key = server.key("acme")
            server.revoke(key)
            return key
        case "expired":
            return server.key("acme", lasts_ms=1)
        case "reads":
            return server.key("acme", scopes=("read",))
        case _:
            return server.key(whose)


async def test_every_reason_is_told_with_what_to_do_and_never_with_the_key(
    server: RegistryServer,
) -> None:
    await prepared(server)
    for whose, deed, status, reason, hint in REFUSALS:
        key = await anyio.to_thread.run_sync(key_of, server, whose)
        async with asking(server, key) as registry:
            with pytest.raises(RegistryRefusedError, match=reason) as told:
                await deed(registry)
        assert told.value.status == status
        assert hint in (told.value.hint or ""), reason
        assert isinstance(told.value, RegistryMissingError) == (status == 404)
        assert key is None or key not in told.value.message


async def test_a_name_that_has_all_the_versions_it_may_have_is_told_so(
    server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "MOST_VERSIONS", 1)
    async with asking(server, server.key("acme")) as acme:
        await acme.publish(version("@acme/player"))
        with pytest.raises(RegistryRefusedError, match="has 1 versions already") as told:
            await acme.publish(version("@acme/player", "1.1.0"))
    assert "unpublish old versions" in (told.value.hint or "")


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

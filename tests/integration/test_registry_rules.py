"""Every reason that the registry refuses with, over SQLite and PostgreSQL, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from perstack.domain.registry import RegistryExpert
from perstack.domain.registry_hosting import MOST_TAGS
from perstack.services.registry import publishing
from tests.fakes.postgres import PostgresServer
from tests.fakes.registry_calls import BASE, Calls, calling, expert_in, reason_in
from tests.fakes.registry_server import RegistryServer, registry_server

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
async def server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[RegistryServer]:
    """A registry over a database of each kind."""
    if request.param == "postgres":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        monkeypatch.setenv("PERSTACK_DATABASE_URL", postgres.emptied())
    async with registry_server(tmp_path, orgs=("acme", "other")) as running:
        yield running


@pytest.fixture
async def acme(server: RegistryServer) -> AsyncGenerator[Calls]:
    async with calling(server.url, server.key("acme")) as calls:
        yield calls


@pytest.fixture
async def other(server: RegistryServer) -> AsyncGenerator[Calls]:
    async with calling(server.url, server.key("other")) as calls:
        yield calls


@pytest.fixture
async def nameless(server: RegistryServer) -> AsyncGenerator[Calls]:
    """An organisation without a name."""
    async with calling(server.url, server.key(None)) as calls:
        yield calls


async def test_both_kinds_of_database_keep_a_registry(
    tmp_path: Path, database_target: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules on PostgreSQL are long ones; this is what they come to, in one walk."""
    if isinstance(database_target, str):
        monkeypatch.setenv("PERSTACK_DATABASE_URL", database_target)
    text = "A NUL \x00, 漢字 and 100%."
    async with registry_server(tmp_path) as server, calling(server.url, server.key()) as acme:
        expert_in(await acme.publish("@acme/reader", tags=["beta"], description=text))
        expert_in(await acme.publish("@acme/a-b", "1.10.0", delegates=["@acme/reader@beta"]))
        expert_in(await acme.publish("@acme/ab", "1.9.0-rc.1"))
        expert_in(await acme.publish("@acme/ab", "1.9.0"))
        assert "already published" in reason_in(await acme.publish("@acme/ab", "1.9.0"))
        assert "still delegated" in reason_in(await acme.unpublish("@acme/reader@1.0.0"))
        expert_in(await acme.update("@acme/ab@1.9.0-rc.1", tags=["beta"], status="deprecated"))
        for sort, names in (
            ("name", ["a-b", "ab", "reader"]),
            ("version", ["reader", "ab", "a-b"]),
        ):
            told = (await acme.search(sort=sort)).json()["data"]["experts"]
            assert [each["name"] for each in told] == [f"@acme/{name}" for name in names]
        found = (await acme.search(filter="\x00 100%")).json()["data"]["experts"]
        assert [each["description"] for each in found] == [text]
        expert_in(await acme.unpublish("@acme/ab@1.9.0"))
        assert await acme.latest("@acme/ab") == "1.9.0-rc.1"
        assert "other content" in reason_in(
            await acme.publish("@acme/ab", "1.9.0", instruction="You differ.")
        )
        again = expert_in(await acme.publish("@acme/ab", "1.9.0"))
    async with registry_server(tmp_path) as server, calling(server.url) as anybody:
        assert expert_in(await anybody.find("@acme/ab")) == again


async def test_a_version_is_published_once_and_stays_as_it_was(acme: Calls) -> None:
    first = expert_in(await acme.publish())
    for again in (await acme.publish(), await acme.publish(instruction="You write otherwise.")):
        assert "already published" in reason_in(again)
    assert expert_in(await acme.find("@acme/writer@1.0.0")) == first


async def test_a_name_is_its_first_organisations(nameless: Calls, server: RegistryServer) -> None:
    expert_in(await nameless.publish("writer"))
    async with calling(server.url, server.key(None)) as rival:
        refused = await rival.publish("writer", "2.0.0")
    assert reason_in(refused) == "the name writer is already taken"
    assert (await nameless.versions("writer")).json()["meta"]["total"] == 1


async def test_a_name_stays_taken_when_all_its_versions_are_gone(
    nameless: Calls, server: RegistryServer
) -> None:
    await nameless.publish("writer")
    expert_in(await nameless.unpublish("writer@1.0.0"))
    async with calling(server.url, server.key(None)) as rival:
        assert "taken" in reason_in(await rival.publish("writer", "2.0.0"))


async def test_the_name_of_a_built_in_expert_is_taken(nameless: Calls, acme: Calls) -> None:
    assert reason_in(await nameless.publish("coder")) == "the name coder is already taken"
    expert_in(await acme.publish("@acme/coder"))


async def test_scopes_are_those_of_organisations_with_a_name(acme: Calls, nameless: Calls) -> None:
    assert reason_in(await acme.publish("writer")) == "the name must be scoped: @acme/writer"
    assert "must not be scoped" in reason_in(await nameless.publish("@acme/writer"))
    assert "not owned" in reason_in(await acme.publish("@other/writer"))


async def test_what_others_own_is_changed_by_nobody_else(acme: Calls, other: Calls) -> None:
    first = expert_in(await acme.publish())
    for refused in (
        await other.update("@acme/writer@1.0.0", tags=["mine"]),
        await other.update("@acme/writer@1.0.0", status="disabled"),
        await other.unpublish("@acme/writer@1.0.0"),
        await other.unpublish("@acme/writer@9.9.9"),
        await other.publish("@acme/writer", "2.0.0"),
    ):
        assert "not owned" in reason_in(refused)
    assert expert_in(await acme.find("@acme/writer")) == first


async def test_status_never_goes_back(acme: Calls) -> None:
    key = "@acme/writer@1.0.0"
    await acme.publish()
    assert "same status" in reason_in(await acme.update(key, status="available"))
    expert_in(await acme.update(key, status="deprecated"))
    assert "cannot go back" in reason_in(await acme.update(key, status="available"))
    assert "same status" in reason_in(await acme.update(key, status="deprecated"))
    expert_in(await acme.update(key, status="disabled"))
    for status in ("available", "deprecated"):
        assert "immutable" in reason_in(await acme.update(key, status=status))
    assert "same status" in reason_in(await acme.update(key, status="disabled"))
    assert "immutable" in reason_in(await acme.update(key, tags=["beta"]))


async def test_what_is_available_can_be_disabled_at_once(acme: Calls) -> None:
    await acme.publish()
    changed = await acme.update("@acme/writer@1.0.0", status="disabled", tags=["bad"])
    assert (expert_in(changed)["status"], expert_in(changed)["tags"]) == ("disabled", ["bad"])


async def test_a_change_of_which_one_half_is_refused_changes_nothing(acme: Calls) -> None:
    before = expert_in(await acme.publish(tags=["latest", "beta"]))
    refused = await acme.update("@acme/writer@1.0.0", tags=["x"], status="available")
    assert "same status" in reason_in(refused)
    assert expert_in(await acme.find("@acme/writer")) == before


async def test_latest_is_set_and_removed_by_nobody(acme: Calls) -> None:
    await acme.publish()
    await acme.publish(version="2.0.0")
    for key in ("@acme/writer@1.0.0", "@acme/writer@2.0.0"):
        for tags in (["latest"], ["x", "latest"]):
            assert "latest cannot be set" in reason_in(await acme.update(key, tags=tags))
    assert expert_in(await acme.update("@acme/writer@2.0.0", tags=[]))["tags"] == ["latest"]
    assert await acme.latest("@acme/writer") == "2.0.0"


@pytest.mark.parametrize("tags", [["latest"], [], ["beta"]])
async def test_latest_is_at_the_highest_version_whatever_was_asked_for(
    acme: Calls, tags: list[str]
) -> None:
    expert_in(await acme.publish(version="1.0.0-rc.1", tags=tags))
    assert await acme.latest("@acme/writer") == "1.0.0-rc.1"
    expert_in(await acme.publish(version="2.0.0", tags=tags))
    expert_in(await acme.publish(version="1.0.0", tags=tags))
    expert_in(await acme.publish(version="3.0.0-rc.1", tags=tags))
    assert await acme.latest("@acme/writer") == "2.0.0"


@pytest.mark.parametrize(
    "skills", [{}, {"web": {"type": "mcpStdioSkill", "command": "npx", "packageName": "web"}}]
)
async def test_the_base_skill_is_required(acme: Calls, skills: object) -> None:
    assert "@perstack/base" in reason_in(await acme.publish(skills=skills))


@pytest.mark.parametrize(
    "delegate",
    [
        "@acme/nobody",
        "@acme/reader@2.0.0",
        "@acme/reader@nightly",
        "@acme/writer@0.9.0",
        "coder@1.0.0",
        "a.b",
    ],
)
async def test_a_delegate_has_to_be_there(acme: Calls, delegate: str) -> None:
    await acme.publish("@acme/reader")
    refused = await acme.publish(delegates=["@acme/reader", delegate])
    assert reason_in(refused) == f"the delegate {delegate} is not found"
    assert (await acme.find("@acme/writer")).status_code == 404


async def test_delegates_that_are_there_are_taken_in_every_form(acme: Calls, other: Calls) -> None:
    expert_in(await acme.publish("@acme/reader", tags=["beta"]))
    expert_in(await acme.publish(version="0.9.0"))
    delegates = [
        "@acme/reader",
        "@acme/reader@1.0.0",
        "@acme/reader@beta",
        "@acme/reader@latest",
        "@acme/writer",
        "@acme/writer@0.9.0",
        "@acme/writer@1.0.0",
        "coder",
    ]
    assert expert_in(await acme.publish(delegates=delegates))["delegates"] == delegates
    expert_in(await other.publish("@other/lead", delegates=["@acme/writer"]))


async def test_a_disabled_delegate_is_none(acme: Calls) -> None:
    await acme.publish("@acme/reader")
    await acme.update("@acme/reader@1.0.0", status="disabled")
    for delegate in ("@acme/reader", "@acme/reader@1.0.0"):
        assert "is not found" in reason_in(await acme.publish(delegates=[delegate]))


@pytest.mark.parametrize("delegate", ["@acme/reader", "@acme/reader@1.0.0", "@acme/reader@beta"])
async def test_what_others_delegate_to_cannot_be_unpublished(
    acme: Calls, other: Calls, delegate: str
) -> None:
    await acme.publish("@acme/reader", tags=["beta"])
    await other.publish("@other/lead", "1.2.0", delegates=[delegate])
    refused = reason_in(await acme.unpublish("@acme/reader@1.0.0"))
    assert refused == "@acme/reader@1.0.0 is still delegated to by @other/lead@1.2.0"
    expert_in(await other.unpublish("@other/lead@1.2.0"))
    expert_in(await acme.unpublish("@acme/reader@1.0.0"))


async def test_a_name_that_others_delegate_to_keeps_one_version(acme: Calls, other: Calls) -> None:
    await acme.publish("@acme/reader", "1.0.0")
    await acme.publish("@acme/reader", "1.1.0", delegates=["@acme/reader@1.0.0"])
    await other.publish("@other/lead", delegates=["@acme/reader"])
    expert_in(await acme.unpublish("@acme/reader@1.0.0"))
    assert "still delegated" in reason_in(await acme.unpublish("@acme/reader@1.1.0"))
    await other.update("@other/lead@1.0.0", status="disabled")
    expert_in(await acme.unpublish("@acme/reader@1.1.0"))


async def test_a_change_has_to_say_which_version_and_what(acme: Calls) -> None:
    await acme.publish(tags=["beta"])
    for key in ("@acme/writer", "@acme/writer@beta"):
        assert "version" in reason_in(await acme.update(key, tags=["x"]), 422)
        assert "version" in reason_in(await acme.unpublish(key), 422)
    for change in ({}, {"tags": None, "status": None}):
        assert "nothing to change" in reason_in(
            await acme.update("@acme/writer@1.0.0", **change), 422
        )
    for wrong in ({"status": "gone"}, {"tags": "beta"}, {"tags": ["Beta"]}, {"name": "x"}):
        reason_in(await acme.update("@acme/writer@1.0.0", **wrong), 422)
    many = [f"t{number}" for number in range(MOST_TAGS + 1)]
    assert "at most 8 tags" in reason_in(await acme.update("@acme/writer@1.0.0", tags=many), 422)
    assert expert_in(await acme.find("@acme/writer"))["tags"] == ["latest", "beta"]


async def test_there_are_only_so_many_versions_of_a_name(
    acme: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "MOST_VERSIONS", 2)
    await acme.publish(version="1.0.0")
    await acme.publish(version="1.1.0")
    await acme.unpublish("@acme/writer@1.1.0")
    assert "has 2 versions already" in reason_in(await acme.publish(version="1.2.0"))
    expert_in(await acme.publish(version="1.1.0"))


async def test_of_many_who_publish_one_version_at_once_one_wins(
    server: RegistryServer, acme: Calls
) -> None:
    statuses: list[int] = []
    reasons: list[str] = []

    async def publish(number: int) -> None:
        async with calling(server.url, server.key("acme")) as calls:
            answered = await calls.publish(instruction=f"You are number {number}.")
        statuses.append(answered.status_code)
        if answered.status_code != 200:
            reasons.append(reason_in(answered))

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(publish, number)
    assert sorted(statuses) == [200] + [400] * 7
    assert all("already published" in reason for reason in reasons)
    assert (await acme.versions("@acme/writer")).json()["meta"]["total"] == 1


async def test_of_two_organisations_that_want_one_name_one_has_it(server: RegistryServer) -> None:
    keys = [server.key(None), server.key(None)]
    statuses: list[int] = []

    async def publish(key: str) -> None:
        async with calling(server.url, key) as calls:
            answered = await calls.publish("writer", skills=BASE)
        statuses.append(answered.status_code)

    async with anyio.create_task_group() as group:
        for key in keys:
            group.start_soon(publish, key)
    assert sorted(statuses) == [200, 400]


async def test_any_text_comes_back_as_it_was_published(acme: Calls) -> None:
    instruction = 'Grüße, 漢字 \U0001f600,\r\n\ttabs \x00 \x1b[31m \u202e \ufeff and \\ "quotes".'
    sent = expert_in(await acme.publish(instruction=instruction, description="A NUL \x00."))
    found = RegistryExpert.model_validate(expert_in(await acme.find("@acme/writer")))
    assert found.instruction == instruction == sent["instruction"]
    words = (await acme.search(filter="\x00 nul")).json()
    assert [each["description"] for each in words["data"]["experts"]] == ["A NUL \x00."]
    assert found.definition.integrity == found.integrity

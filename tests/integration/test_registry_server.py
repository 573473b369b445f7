"""The registry's API over HTTP: every row of its table, pages, orders, words."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from perstack.domain.registry import (
    API,
    ExpertPage,
    PublishRequest,
    RegistryExpert,
    VersionList,
)
from perstack.services.registry import shelf
from tests.fakes.registry_calls import Calls, calling, definition, expert_in, reason_in
from tests.fakes.registry_server import RegistryServer, registry_server

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[RegistryServer]:
    async with registry_server(tmp_path) as running:
        yield running


@pytest.fixture
async def acme(server: RegistryServer) -> AsyncGenerator[Calls]:
    """The organisation acme, with a key for everything."""
    async with calling(server.url, server.key("acme")) as calls:
        yield calls


async def test_what_was_published_is_found_with_its_integrity_owner_and_times(
    acme: Calls, server: RegistryServer
) -> None:
    body = definition(delegates=["@acme/writer"], tags=["latest", "beta"])
    published = expert_in(await acme.publish(delegates=["@acme/writer"], tags=["latest", "beta"]))
    found = RegistryExpert.model_validate(expert_in(await acme.find("@acme/writer")))
    assert RegistryExpert.model_validate(published) == found
    assert (found.type, found.key, found.status) == (
        "registryExpert",
        "@acme/writer@1.0.0",
        "available",
    )
    assert found.tags == ("latest", "beta")
    assert found.owner.name == "acme"
    assert found.owner.organization_id == server.organisation("acme")
    assert found.integrity == PublishRequest.model_validate(body).definition.integrity
    assert found.definition.integrity == found.integrity
    assert found.created_at.endswith("Z")
    assert found.created_at == found.updated_at


@pytest.mark.parametrize(
    "key", ["@acme/writer", "@acme/writer@1.0.0", "@acme/writer@latest", "@acme/writer@beta"]
)
async def test_an_expert_is_found_by_every_form_of_its_key(acme: Calls, key: str) -> None:
    await acme.publish(tags=["beta"])
    assert expert_in(await acme.find(key))["key"] == "@acme/writer@1.0.0"
    typed = await acme.client.get(f"{API}/{key}")
    assert expert_in(typed)["key"] == "@acme/writer@1.0.0"


async def test_an_expert_called_versions_is_not_the_versions_of_another(acme: Calls) -> None:
    await acme.publish("@acme/versions")
    assert expert_in(await acme.find("@acme/versions"))["name"] == "@acme/versions"
    assert (await acme.versions("@acme/versions")).json()["meta"]["total"] == 1
    assert expert_in(await acme.client.get(f"{API}/@acme/versions"))["name"] == "@acme/versions"
    told = await acme.client.get(f"{API}/@acme/versions/versions")
    assert told.json()["meta"]["total"] == 1


async def test_an_organisation_without_a_name_publishes_names_without_a_scope(
    server: RegistryServer,
) -> None:
    async with calling(server.url, server.key(None)) as calls:
        owner = expert_in(await calls.publish("writer"))["owner"]
        assert set(owner) == {"organizationId", "createdAt"}
        assert expert_in(await calls.find("writer@1.0.0"))["name"] == "writer"


async def test_versions_are_listed_highest_first_with_tags_status_and_integrity(
    acme: Calls,
) -> None:
    for version in ("1.2.0", "1.10.0", "2.0.0-rc.1", "1.9.0"):
        expert_in(await acme.publish(version=version, instruction=f"You write {version}."))
    expert_in(await acme.update("@acme/writer@1.2.0", tags=["stable"], status="deprecated"))
    told = await acme.versions("@acme/writer")
    found = VersionList.model_validate(told.json()["data"])
    assert [each.version for each in found.versions] == ["2.0.0-rc.1", "1.10.0", "1.9.0", "1.2.0"]
    assert found.latest == "1.10.0"
    assert told.json()["meta"] == {"total": 4}
    old = found.of("1.2.0")
    assert old is not None
    assert (old.key, old.tags, old.status) == ("@acme/writer@1.2.0", ("stable",), "deprecated")
    told_expert = RegistryExpert.model_validate(expert_in(await acme.find("@acme/writer@1.2.0")))
    assert old.integrity == told_expert.definition.integrity
    assert len({each.integrity for each in found.versions}) == 4
    assert await acme.latest("@acme/writer@1.2.0") == "1.10.0"


async def test_tags_move_from_version_to_version_and_are_replaced_as_a_whole(acme: Calls) -> None:
    await acme.publish(version="1.0.0", tags=["latest", "beta", "old"])
    await acme.publish(version="2.0.0", tags=["latest", "beta"])
    assert expert_in(await acme.find("@acme/writer@1.0.0"))["tags"] == ["old"]
    moved = expert_in(await acme.update("@acme/writer@1.0.0", tags=["beta", "lts"]))
    assert moved["tags"] == ["beta", "lts"]
    assert expert_in(await acme.find("@acme/writer@2.0.0"))["tags"] == ["latest"]
    assert expert_in(await acme.find("@acme/writer@beta"))["version"] == "1.0.0"
    assert reason_in(await acme.find("@acme/writer@old"), 404)
    assert expert_in(await acme.update("@acme/writer@1.0.0", tags=[]))["tags"] == []


async def test_status_goes_one_way_and_a_disabled_version_is_still_told_of(acme: Calls) -> None:
    before = expert_in(await acme.publish())
    deprecated = expert_in(await acme.update("@acme/writer@1.0.0", status="deprecated"))
    assert deprecated["status"] == "deprecated"
    assert deprecated["updatedAt"] >= before["updatedAt"]
    expert_in(await acme.update("@acme/writer@1.0.0", status="disabled"))
    assert expert_in(await acme.find("@acme/writer@1.0.0"))["status"] == "disabled"


async def test_latest_leaves_a_disabled_version_and_one_that_was_unpublished(acme: Calls) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        await acme.publish(version=version)
    assert await acme.latest("@acme/writer") == "1.2.0"
    await acme.update("@acme/writer@1.2.0", status="disabled")
    assert await acme.latest("@acme/writer") == "1.1.0"
    removed = expert_in(await acme.unpublish("@acme/writer@1.1.0"))
    assert removed["key"] == "@acme/writer@1.1.0"
    assert await acme.latest("@acme/writer") == "1.0.0"
    await acme.update("@acme/writer@1.0.0", status="disabled")
    assert await acme.latest("@acme/writer") is None
    assert reason_in(await acme.find("@acme/writer"), 404) == "@acme/writer is not found"


async def test_what_was_unpublished_is_gone_and_comes_again_only_as_it_was(acme: Calls) -> None:
    first = expert_in(await acme.publish())
    await acme.update("@acme/writer@1.0.0", status="deprecated")
    expert_in(await acme.unpublish("@acme/writer@1.0.0"))
    for answered in (
        await acme.find("@acme/writer@1.0.0"),
        await acme.find("@acme/writer"),
        await acme.versions("@acme/writer"),
        await acme.unpublish("@acme/writer@1.0.0"),
    ):
        assert answered.status_code == 404
    assert (await acme.search()).json()["meta"]["total"] == 0
    other = await acme.publish(instruction="You write something else.")
    assert "other content" in reason_in(other)
    again = expert_in(await acme.publish())
    assert (again["status"], again["integrity"]) == ("deprecated", first["integrity"])


async def test_a_page_has_each_expert_in_its_latest_version(acme: Calls) -> None:
    await acme.publish("@acme/writer", "1.0.0")
    await acme.publish("@acme/writer", "2.0.0", description="Writes better.")
    await acme.publish("@acme/reader", "0.1.0", description="Reads.")
    await acme.publish("@acme/gone", "0.1.0")
    await acme.update("@acme/gone@0.1.0", status="disabled")
    told = await acme.search()
    page = ExpertPage.model_validate({**told.json()["data"], "total": told.json()["meta"]["total"]})
    assert [each.key for each in page.experts] == ["@acme/reader@0.1.0", "@acme/writer@2.0.0"]
    assert told.json()["meta"] == {"total": 2, "take": 100, "skip": 0}


async def test_pages_follow_each_other_without_a_gap(acme: Calls) -> None:
    names = [f"@acme/e{number:02}" for number in range(7)]
    for name in reversed(names):
        expert_in(await acme.publish(name))
    found: list[str] = []
    for skip in range(0, 9, 3):
        told = (await acme.search(take=3, skip=skip)).json()
        assert told["meta"] == {"total": 7, "take": 3, "skip": skip}
        found += [each["name"] for each in told["data"]["experts"]]
    assert found == names


async def test_a_page_that_would_be_too_large_is_shorter_and_the_next_goes_on(
    acme: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "PAGE_BYTES", 50_000)
    for number in range(5):
        expert_in(await acme.publish(f"@acme/e{number}", instruction="x" * 20_000))
    found: list[str] = []
    sizes: list[int] = []
    while len(found) < 5:
        told = (await acme.search(skip=len(found))).json()
        assert told["meta"]["total"] == 5
        sizes.append(len(told["data"]["experts"]))
        found += [each["name"] for each in told["data"]["experts"]]
    assert sizes == [2, 2, 1]
    assert found == sorted(set(found))


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("name", ["a-b", "a0", "ab"]),
        ("version", ["ab", "a0", "a-b"]),
        ("createdAt", ["ab", "a-b", "a0"]),
        ("updatedAt", ["a-b", "a0", "ab"]),
    ],
)
async def test_a_list_is_sorted_as_asked_in_both_orders(
    acme: Calls, sort: str, names: list[str]
) -> None:
    for name, version in (("ab", "1.9.0"), ("a-b", "1.10.0"), ("a0", "1.10.0-rc")):
        expert_in(await acme.publish(f"@acme/{name}", version))
    expert_in(await acme.update("@acme/ab@1.9.0", tags=["x"]))
    for order, wanted in (("asc", names), ("desc", names[::-1])):
        told = (await acme.search(sort=sort, order=order)).json()
        assert [each["name"] for each in told["data"]["experts"]] == [f"@acme/{n}" for n in wanted]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("WRIT", ["@acme/writer"]),
        ("letters writes", ["@acme/writer"]),
        ("straße", ["@acme/reader"]),
        ("STRASSE", ["@acme/reader"]),
        ("100%", ["@acme/reader"]),
        ("1_0", []),
        ("acme", ["@acme/reader", "@acme/writer"]),
        ("", ["@acme/reader", "@acme/writer"]),
        ("!", []),
        ("%", ["@acme/reader"]),
        ("'; DROP TABLE registry_names; --", []),
    ],
)
async def test_a_filter_finds_all_of_its_words_in_name_or_description(
    acme: Calls, words: str, found: list[str]
) -> None:
    await acme.publish("@acme/writer", description="Writes letters.")
    await acme.publish("@acme/reader", description="Reads street signs of any Straße, 100% sure.")
    told = (await acme.search(filter=words)).json()
    assert [each["name"] for each in told["data"]["experts"]] == found


async def test_a_list_can_be_of_one_organisation(acme: Calls, server: RegistryServer) -> None:
    await acme.publish()
    async with calling(server.url, server.key("other")) as other:
        await other.publish("@other/reader")
        told = (await other.search(organizationId=server.organisation("other"))).json()
        assert [each["name"] for each in told["data"]["experts"]] == ["@other/reader"]
        assert (await other.search(organizationId="nobody")).json()["meta"]["total"] == 0
        assert (await other.search()).json()["meta"]["total"] == 2


@pytest.mark.parametrize(
    "query",
    [
        {"take": 0},
        {"take": 101},
        {"take": "many"},
        {"skip": -1},
        {"sort": "size"},
        {"order": "up"},
        {"filter": "x" * 257},
        {"filter": "a b c d e f g h i"},
        {"colour": "red"},
    ],
)
async def test_a_query_that_does_not_fit_is_refused(
    acme: Calls, query: dict[str, str | int]
) -> None:
    assert next(iter(query)) in reason_in(await acme.search(**query), 422)


@pytest.mark.parametrize(
    ("key", "versions"),
    [("@acme/writer", True), ("@acme/writer@1.0.0", False), ("@acme/writer@nightly", False)],
)
async def test_what_is_not_there_is_404(acme: Calls, key: str, versions: bool) -> None:
    answered = await (acme.versions(key) if versions else acme.find(key))
    assert reason_in(answered, 404) == f"{key} is not found"


async def test_a_path_that_is_none_and_a_method_that_is_none_have_the_same_body(
    acme: Calls,
) -> None:
    for path in ("/", "/docs", "/openapi.json", f"{API}/@acme/writer/tags", "/api/registry/v2"):
        reason_in(await acme.client.get(path), 404)
    reason_in(await acme.client.put(f"{API}/writer", headers=acme.headers), 405)


async def test_what_is_kept_survives_the_server(tmp_path: Path) -> None:
    async with registry_server(tmp_path) as first, calling(first.url, first.key()) as calls:
        told = expert_in(await calls.publish(tags=["beta"]))
    async with registry_server(tmp_path) as second, calling(second.url) as calls:
        assert expert_in(await calls.find("@acme/writer@beta")) == told

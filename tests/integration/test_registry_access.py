"""Keys of a registry: whose they are, what for, until when; and how often they may ask."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from httpx2 import ASGITransport, AsyncClient, Response

from perstack.domain.registry import API
from perstack.domain.registry_hosting import KEY_START, PREFIX_LENGTH, Scope
from perstack.errors import ConflictError, NotFoundError, UsageError
from perstack.ports.system import Uuids
from perstack.services.registry.access import RegistryAccess
from perstack.serving.http.limits import Buckets
from perstack.serving.registry.app import access_over, create_app, state_over
from perstack.serving.registry.server import Listening
from perstack.wiring import Tables, open_tables
from tests.fakes.history import SetClock
from tests.fakes.registry_calls import Calls, calling, definition, expert_in, reason_in
from tests.fakes.registry_server import RegistryServer, registry_server

pytestmark = pytest.mark.anyio

DAY_MS = 86_400_000


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[RegistryServer]:
    async with registry_server(tmp_path) as running:
        yield running


@pytest.fixture
async def tables(tmp_path: Path) -> AsyncGenerator[Tables]:
    opened = open_tables(tmp_path)
    yield opened
    await opened.aclose()


def access(tables: Tables, clock: SetClock) -> RegistryAccess:
    return RegistryAccess(tables.stores, clock=clock, ids=Uuids())


Deed = Callable[[Calls], Awaitable[Response]]


async def publish(calls: Calls) -> Response:
    return await calls.publish("@acme/writer", "2.0.0")


async def tag(calls: Calls) -> Response:
    return await calls.update("@acme/writer@1.0.0", tags=["x"])


async def status(calls: Calls) -> Response:
    return await calls.update("@acme/writer@1.0.0", status="deprecated")


async def unpublish(calls: Calls) -> Response:
    return await calls.unpublish("@acme/writer@1.0.0")


NEEDS: dict[Deed, Scope] = {
    publish: "publish",
    tag: "manage",
    status: "manage",
    unpublish: "manage",
}


@pytest.mark.parametrize("deed", NEEDS, ids=lambda deed: deed.__name__)
async def test_whatever_changes_something_needs_a_key_that_is_for_it(
    server: RegistryServer, deed: Deed
) -> None:
    async with calling(server.url, server.key()) as owner:
        before = expert_in(await owner.publish())
    wanted = NEEDS[deed]
    others = {"read", "publish", "manage"} - {wanted}
    for key, why in (
        (None, "an API key is needed"),
        (KEY_START + "x" * 43, "not known"),
        (KEY_START, "not known"),
        ("x" * 10_000, "not known"),
        (server.key(scopes=others), f"lacks the scope {wanted}"),
    ):
        async with calling(server.url, key) as calls:
            refused = await deed(calls)
            assert why in reason_in(refused, 401)
            assert refused.headers["www-authenticate"] == "Bearer"
    async with calling(server.url) as calls:
        assert expert_in(await calls.find("@acme/writer")) == before
    async with calling(server.url, server.key(scopes={wanted})) as calls:
        expert_in(await deed(calls))


async def test_reading_is_open_but_a_key_that_came_along_must_be_a_good_one(
    server: RegistryServer,
) -> None:
    key = server.key(scopes=["publish"])
    async with calling(server.url, key) as calls:
        expert_in(await calls.publish())
        expert_in(await calls.find("@acme/writer"))
    async with calling(server.url) as calls:
        expert_in(await calls.find("@acme/writer"))
    async with calling(server.url, "psr_wrong") as calls:
        for answered in (
            await calls.find("@acme/writer"),
            await calls.versions("@acme/writer"),
            await calls.search(),
        ):
            assert "not known" in reason_in(answered, 401)


async def test_a_private_registry_tells_nobody_anything_without_a_key_for_reading(
    tmp_path: Path,
) -> None:
    async with registry_server(tmp_path, orgs=("acme", "guest"), private=True) as server:
        async with calling(server.url, server.key("acme")) as calls:
            expert_in(await calls.publish())
        for key, why in (
            (None, "an API key is needed"),
            (server.key(scopes=["publish", "manage"]), "lacks the scope read"),
        ):
            async with calling(server.url, key) as calls:
                for answered in (
                    await calls.find("@acme/writer"),
                    await calls.find("@acme/nobody"),
                    await calls.versions("@acme/writer"),
                    await calls.search(),
                ):
                    assert why in reason_in(answered, 401)
        async with calling(server.url, server.key("guest", scopes=["read"])) as calls:
            expert_in(await calls.find("@acme/writer"))


async def test_a_revoked_key_is_worth_nothing_from_the_next_call_on(
    server: RegistryServer,
) -> None:
    key = server.key()
    async with calling(server.url, key) as calls:
        expert_in(await calls.publish())
        server.revoke(key)
        assert "was revoked" in reason_in(await calls.publish(version="2.0.0"), 401)
        assert "was revoked" in reason_in(await calls.find("@acme/writer"), 401)


async def test_a_key_ends_when_it_was_to(tables: Tables) -> None:
    clock = SetClock()
    keys = access(tables, clock)
    await keys.add_organisation("acme")
    made = await keys.add_key("acme", lasts_ms=DAY_MS)
    clock.at += DAY_MS - 1
    assert (await keys.admit(made.token)).prefix == made.key.prefix
    clock.at += 1
    with pytest.raises(Exception, match="has expired"):
        await keys.admit(made.token)


async def test_a_key_is_kept_as_a_hash_alone(tmp_path: Path, server: RegistryServer) -> None:
    key = server.key()
    assert len(key) >= len(KEY_START) + 43
    async with calling(server.url, key) as calls:
        expert_in(await calls.publish())
    server.stop()
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert key[:PREFIX_LENGTH].encode() in kept
    assert key.encode() not in kept
    assert key[PREFIX_LENGTH:].encode() not in kept


async def test_when_a_key_was_used_is_noted_once_a_minute(tables: Tables) -> None:
    clock = SetClock()
    keys = access(tables, clock)
    await keys.add_organisation("acme")
    made = await keys.add_key("acme")
    assert made.key.last_used_at is None
    used: list[int | None] = []
    for later_ms in (0, 59_999, 1):
        clock.at += later_ms
        await keys.admit(made.token)
        (kept,) = await keys.keys()
        used.append(kept.last_used_at)
    assert used == [clock.at - 60_000, clock.at - 60_000, clock.at]


async def test_names_of_organisations_are_few_plain_letters_and_each_is_one_organisations(
    tables: Tables,
) -> None:
    keys = access(tables, SetClock())
    await keys.add_organisation("acme")
    with pytest.raises(ConflictError, match="acme"):
        await keys.add_organisation("acme")
    for wrong in ("Acme", "@acme", "a/b", "а" + "cme", "", "a" * 65, "a\n", "..", "-a"):
        with pytest.raises(UsageError, match="not the name"):
            await keys.add_organisation(wrong)
    first, second = await keys.add_organisation(), await keys.add_organisation()
    assert first.id != second.id
    assert [each.name for each in await keys.organisations()] == ["acme", None, None]


async def test_a_key_has_to_be_somebodys_for_something_and_not_for_ever_and_a_day(
    tables: Tables,
) -> None:
    keys = access(tables, SetClock())
    made = await keys.add_organisation("acme")
    with pytest.raises(NotFoundError, match="no organisation"):
        await keys.add_key("nobody")
    with pytest.raises(UsageError, match="Invalid scope"):
        await keys.add_key("acme", scopes=["write"])
    with pytest.raises(UsageError, match="without a scope"):
        await keys.add_key("acme", scopes=[])
    for wrong in (0, -1, 11 * 366 * DAY_MS):
        with pytest.raises(UsageError, match="ten years"):
            await keys.add_key("acme", lasts_ms=wrong)
    with pytest.raises(NotFoundError, match="no key"):
        await keys.revoke("psr_nothing")
    for name in ("acme", "@acme", made.id):
        assert (await keys.add_key(name)).key.organisation_id == made.id


async def test_revoking_again_changes_nothing(tables: Tables) -> None:
    clock = SetClock()
    keys = access(tables, clock)
    await keys.add_organisation("acme")
    made = await keys.add_key("acme")
    first = await keys.revoke(made.token)
    clock.at += 1_000
    again = await keys.revoke(made.key.prefix)
    assert first.revoked_at == again.revoked_at == clock.at - 1_000


async def test_who_asks_too_often_with_one_key_has_to_wait_and_others_have_not(
    tmp_path: Path,
) -> None:
    tables = open_tables(tmp_path)
    keys = access_over(tables)
    await keys.add_organisation("acme")
    hasty, calm = await keys.add_key("acme"), await keys.add_key("acme")
    state = replace(state_over(tables), buckets=Buckets(per_s=0.001, burst=3))
    transport = ASGITransport(create_app(state, Listening().rules()))
    async with AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        calls = Calls(client, hasty.token)
        statuses = [(await calls.search()).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = await calls.search()
        assert reason_in(refused, 429)
        assert int(refused.headers["retry-after"]) >= 1
        assert (await Calls(client, calm.token).search()).status_code == 200
    await tables.aclose()


async def test_who_asks_too_often_from_one_address_has_to_wait(tmp_path: Path) -> None:
    tables = open_tables(tmp_path)
    rules = replace(Listening().rules(), per_s=0.001, burst=2)
    transport = ASGITransport(create_app(state_over(tables), rules))
    async with AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answered = [await client.get(f"{API}/") for _ in range(3)]
    assert [each.status_code for each in answered] == [200, 200, 429]
    reason_in(answered[2], 429)
    await tables.aclose()


async def test_without_publish_rights_nothing_is_read_of_a_body(server: RegistryServer) -> None:
    async with calling(server.url) as calls:
        wrong = definition(instruction="")
        assert reason_in(await calls.client.post(f"{API}/", json=wrong), 401)


async def test_of_who_has_no_key_no_body_is_kept_and_the_answer_arrives_all_the_same(
    server: RegistryServer,
) -> None:
    headers = {"Content-Type": "application/json", "Authorization": "Bearer psr_wrong"}
    async with calling(server.url) as calls:
        for path in (f"{API}/", f"{API}/writer%401.0.0"):
            refused = await calls.client.post(path, content=b"x" * 3_000_000, headers=headers)
            assert "not known" in reason_in(refused, 401)
        assert (await calls.search()).status_code == 200

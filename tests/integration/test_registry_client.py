"""The client of a registry against a wire that does what no good registry would."""

from __future__ import annotations

import json
import socket
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from perstack.config.registry_place import RegistryPlace
from perstack.domain.registry import (
    ExpertQuery,
    PublishRequest,
    RegistryKey,
    parse_key,
)
from perstack.errors import (
    ConfigError,
    RegistryError,
    RegistryMissingError,
    RegistryRefusedError,
    RegistryUnreachableError,
    UsageError,
)
from perstack.integrations.registry_client import ANSWER_BYTES, HttpRegistry
from tests.fakes.registry_wire import (
    Fault,
    Wire,
    answer,
    drip,
    endless,
    expert,
    listed,
    one,
    page,
    refusal,
    registry_wire,
    reset,
    silent,
)

pytestmark = pytest.mark.anyio

KEY = "psr_very-secret-0123456789"
PLAYER = parse_key("tic-tac-toe")
REQUEST = PublishRequest(name="tic-tac-toe", version="1.0.0", instruction="Play.", skills={})


@asynccontextmanager
async def asked(
    *answers: Fault, key: str | None = KEY, bound_s: float = 10.0, tls: Path | None = None
) -> AsyncGenerator[tuple[HttpRegistry, Wire]]:
    with registry_wire(*answers, tls=tls) as wire:
        registry = HttpRegistry(RegistryPlace(wire.url, key), bound_s=bound_s)
        try:
            yield registry, wire
        finally:
            await registry.aclose()


async def test_each_call_asks_what_the_table_of_the_api_says() -> None:
    async with asked(answer(one("@acme/x"))) as (registry, wire):
        await registry.find(parse_key("@acme/x"))
        await registry.find(parse_key("@acme/x@1.0.0"))
        await registry.find(parse_key("@acme/x@beta"))
        await registry.set_tags(parse_key("@acme/x@1.0.0"), ["beta", "good"])
        await registry.set_status(parse_key("@acme/x@1.0.0"), "deprecated")
        await registry.unpublish(parse_key("@acme/x@1.0.0"))
        wire.then(answer(one()))
        await registry.publish(REQUEST)
        wire.then(answer(listed("1.0.0", name="@acme/x", latest="1.0.0")))
        await registry.versions(parse_key("@acme/x@beta"))
        wire.then(answer(page(expert(), total=7)))
        query = ExpertQuery(filter="a & b", organization_id="o1", sort="createdAt", take=3, skip=4)
        assert (await registry.search(query)).total == 7

    root = "/api/registry/v1/experts"
    assert [(each.method, each.target.partition("?")[0]) for each in wire.asked] == [
        ("GET", f"{root}/%40acme%2Fx"),
        ("GET", f"{root}/%40acme%2Fx%401.0.0"),
        ("GET", f"{root}/%40acme%2Fx%40beta"),
        ("POST", f"{root}/%40acme%2Fx%401.0.0"),
        ("POST", f"{root}/%40acme%2Fx%401.0.0"),
        ("DELETE", f"{root}/%40acme%2Fx%401.0.0"),
        ("POST", f"{root}/"),
        ("GET", f"{root}/%40acme%2Fx/versions"),
        ("GET", f"{root}/"),
    ]
    assert json.loads(wire.asked[3].body) == {"tags": ["beta", "good"]}
    assert json.loads(wire.asked[4].body) == {"status": "deprecated"}
    assert PublishRequest.model_validate_json(wire.asked[6].body) == REQUEST
    assert wire.asked[-1].target.endswith(
        "?organizationId=o1&filter=a+%26+b&sort=createdAt&order=asc&take=3&skip=4"
    )
    assert {each.headers["authorization"] for each in wire.asked} == {f"Bearer {KEY}"}
    assert {each.headers["accept-encoding"] for each in wire.asked} == {"identity"}


async def test_without_a_key_none_is_sent() -> None:
    async with asked(answer(one()), key=None) as (registry, wire):
        await registry.find(PLAYER)

    assert "authorization" not in wire.asked[0].headers


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (answer(one("other")), "answered with other@1.0.0 where tic-tac-toe@2.0.0"),
        (answer(one(version="1.0.0")), "answered with tic-tac-toe@1.0.0 where tic-tac-toe@2.0.0"),
        (answer(one(version="2.0.0", key="evil@2.0.0")), "do not fit together"),
        (answer(one(version="2.0.0", tags=["\x1b[2J"])), "tags that are none"),
        (answer(one(version="2.0.0", createdAt="\x1b[2J")), "control characters"),
        (answer(one(version="2.0.0", owner={"organizationId": "\n"})), "control characters"),
        (answer(one(version="2.0.0", instruction="x" * 1_100_000)), "larger than 1,048,576 bytes"),
        (answer(b"<html>Welcome</html>"), "cannot be understood"),
        (answer(b""), "cannot be understood"),
        (answer(b"\xff\xfe"), "cannot be understood"),
        (answer(b"[" * 100_000), "cannot be understood"),
        (answer({"data": {}}), "cannot be understood"),
        (answer(one(version="2.0.0", skills=[])), "cannot be understood"),
        (answer(one(version="2.0.0", status="fine")), "cannot be understood"),
        (answer(one(version="2.0.0"), headers={"Content-Encoding": "gzip"}), "packed"),
        (answer(b"", 302, {"Location": "http://127.0.0.1:9/"}), "leads on to another address"),
        (answer(b"", 304), "leads on to another address"),
        (answer(b"nothing here", 404), "no registry of Experts was found"),
    ],
)
async def test_what_is_not_what_was_promised_is_refused(wrong: Fault, says: str) -> None:
    async with asked(wrong) as (registry, wire):
        with pytest.raises(RegistryError, match=says) as told:
            await registry.find(parse_key("tic-tac-toe@2.0.0"))

    assert not isinstance(told.value, RegistryUnreachableError | RegistryRefusedError)
    assert len(wire.asked) == 1
    assert "\x1b" not in told.value.message


async def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else() -> None:
    with registry_wire(answer(one())) as other:
        elsewhere = {"Location": f"{other.url}/api/registry/v1/experts/tic-tac-toe"}
        async with asked(answer(b"", 307, elsewhere)) as (registry, _):
            with pytest.raises(RegistryError, match="leads on to another address"):
                await registry.publish(REQUEST)

    assert other.asked == []


@pytest.mark.parametrize(
    ("versions", "says"),
    [
        (listed("1.0.0", name="other"), "one is of another name"),
        (listed("1.0"), "one is of another name"),
        (listed("1.0.0", latest="../.."), "latest is at no version"),
        ({"data": {"versions": None}}, "cannot be understood"),
    ],
)
async def test_versions_of_something_else_are_refused(versions: object, says: str) -> None:
    async with asked(answer(versions)) as (registry, _):
        with pytest.raises(RegistryError, match=says):
            await registry.versions(PLAYER)


async def test_experts_that_no_key_can_name_are_left_out_of_a_page() -> None:
    hostile = ("../../etc/passwd", "tic\u0430tac", "TIC", "x\x1b[2J", "@a/../b")
    async with asked(answer(page(expert(), *map(expert, hostile)))) as (registry, _):
        found = await registry.search(ExpertQuery())

    assert [each.name for each in found.experts] == ["tic-tac-toe"]
    assert found.total == 6


@pytest.mark.parametrize(
    "hostile",
    [
        RegistryKey(None, "../../secret"),
        RegistryKey("..", "x"),
        RegistryKey(None, "x?take=1"),
        RegistryKey(None, "x\r\nX-Evil: 1"),
        RegistryKey(None, "tic\u0430tac"),
        RegistryKey(None, "x", tag="../../y"),
        RegistryKey(None, "x", version="1.0.0/versions"),
    ],
)
async def test_hostile_names_never_reach_the_wire(hostile: RegistryKey) -> None:
    async with asked(answer(one())) as (registry, wire):
        for call in (registry.find, registry.versions, registry.unpublish):
            with pytest.raises(UsageError, match="is not the key of an Expert"):
                await call(hostile)
        with pytest.raises(UsageError, match="is not the key of an Expert"):
            await registry.set_tags(hostile, ["x"])

    assert wire.asked == []


@pytest.mark.parametrize("fault", [silent, drip(), drip(head=True)])
async def test_a_slow_answer_ends_in_time_however_it_is_slow(fault: Fault) -> None:
    async with asked(fault, bound_s=0.3) as (registry, _):
        with anyio.fail_after(20):
            with pytest.raises(RegistryUnreachableError, match="did not answer"):
                await registry.find(PLAYER)


async def test_versions_are_waited_for_only_as_long_as_was_said() -> None:
    async with asked(drip(), bound_s=3600) as (registry, _):
        with anyio.fail_after(20):
            with pytest.raises(RegistryUnreachableError, match=r"did not answer within 0\.2 s"):
                await registry.versions(PLAYER, within_s=0.2)


@pytest.mark.parametrize("huge", [endless(), answer(b" " * (ANSWER_BYTES + 1))])
async def test_a_huge_answer_is_not_read_to_its_end(huge: Fault) -> None:
    async with asked(huge) as (registry, _):
        with pytest.raises(RegistryError, match=r"larger than 4,194,304 bytes"):
            await registry.find(PLAYER)


@pytest.mark.parametrize(
    "passing",
    [reset(), answer(one(), cut=20), *(refusal(status) for status in (502, 503, 504))],
)
async def test_a_read_is_made_once_more_where_that_may_help(passing: Fault) -> None:
    async with asked(passing, answer(one())) as (registry, wire):
        assert (await registry.find(PLAYER)).version == "1.0.0"
        assert len(wire.asked) == 2
        wire.then(passing)
        with pytest.raises(RegistryUnreachableError):
            await registry.find(PLAYER)

    assert len(wire.asked) == 4


@pytest.mark.parametrize("passing", [reset(), answer(one(), cut=20), refusal(503)])
async def test_what_changes_something_is_asked_once(passing: Fault) -> None:
    async with asked(passing) as (registry, wire):
        with pytest.raises(RegistryUnreachableError):
            await registry.publish(REQUEST)
        with pytest.raises(RegistryUnreachableError):
            await registry.unpublish(parse_key("tic-tac-toe@1.0.0"))

    assert [each.method for each in wire.asked] == ["POST", "DELETE"]


async def test_what_has_no_list_of_experts_is_said_to_be_no_registry() -> None:
    async with asked(refusal(404, "Not Found")) as (registry, _):
        with pytest.raises(RegistryError, match="no registry of Experts was found at 127") as told:
            await registry.search(ExpertQuery())

    assert told.value.hint == "is PERSTACK_API_BASE_URL right?"


async def test_what_is_missing_is_told_with_where_it_was_looked_for() -> None:
    async with asked(refusal(404, "tic-tac-toe is not found")) as (registry, wire):
        with pytest.raises(RegistryMissingError) as told:
            await registry.find(PLAYER)

    where = wire.url.removeprefix("http://")
    assert told.value.message == f"tic-tac-toe is not found in the registry at {where}"


async def test_retry_after_is_kept_to_where_the_time_allows_it() -> None:
    async with asked(refusal(503, "busy", {"Retry-After": "0"}), answer(one())) as (registry, wire):
        await registry.find(PLAYER)
        assert len(wire.asked) == 2
        wire.then(refusal(503, "busy", {"Retry-After": "3600"}))
        with pytest.raises(RegistryUnreachableError, match=r"now \(HTTP 503\): busy$") as told:
            await registry.find(PLAYER)

    assert len(wire.asked) == 3
    assert told.value.hint == "try again in 3600 s"


async def test_a_registry_that_fails_is_as_good_as_none() -> None:
    async with asked(refusal(500, "Traceback")) as (registry, wire):
        with pytest.raises(RegistryUnreachableError, match=r"fails \(HTTP 500\)"):
            await registry.find(PLAYER)

    assert len(wire.asked) == 1


@pytest.mark.parametrize(
    ("status", "reason", "hint"),
    [
        (401, "no key", "perstack login"),
        (404, "tic-tac-toe is not found", "perstack search"),
        (422, "the name is too long", "correct it"),
        (400, "version 1.0.0 is already published", "raise version ="),
        (400, "the name is already taken", "@organisation/name"),
        (400, "latest cannot be set by hand", "moves by itself"),
    ],
)
async def test_a_refusal_says_why_and_what_to_do(status: int, reason: str, hint: str) -> None:
    async with asked(refusal(status, reason)) as (registry, wire):
        with pytest.raises(RegistryRefusedError) as told:
            await registry.find(PLAYER)

    assert told.value.status == status
    assert told.value.reason == reason
    assert reason in told.value.message
    assert hint in (told.value.hint or "")
    assert isinstance(told.value, RegistryMissingError) == (status == 404)
    assert len(wire.asked) == 1


@pytest.mark.parametrize(("header", "when"), [("16.2", "in 17 s"), ("soon", "in a while")])
async def test_who_asks_too_often_is_told_when_to_come_again(header: str, when: str) -> None:
    async with asked(refusal(429, "slow down", {"Retry-After": header})) as (registry, wire):
        with pytest.raises(RegistryUnreachableError, match=f"too often and answers again {when}"):
            await registry.find(PLAYER)

    assert len(wire.asked) == 1


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_a_reason_is_shown_harmlessly_and_never_with_the_key(status: int) -> None:
    reason = f"bad key {KEY} \x1b[2J\u202egnp.exe\r\nError: no " + "x" * 5000
    async with asked(refusal(status, reason)) as (registry, _):
        with pytest.raises(RegistryError, match="bad key") as told:
            await registry.find(PLAYER)

    error = told.value
    for text in (
        error.message,
        error.reason if isinstance(error, RegistryRefusedError) else "",
        "".join(traceback.format_exception(error)),
    ):
        assert KEY not in text
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert len(error.message) < 600


@pytest.mark.parametrize("reason", [17, ["x"], {"a": 1}, None, True])
async def test_a_reason_of_any_shape_does_no_harm(reason: object) -> None:
    async with asked(answer({"reason": reason}, 400)) as (registry, _):
        with pytest.raises(RegistryRefusedError, match="HTTP 400"):
            await registry.find(PLAYER)


async def test_a_certificate_that_nobody_signed_is_not_believed(tmp_path: Path) -> None:
    async with asked(answer(one()), tls=tmp_path) as (registry, wire):
        with pytest.raises(RegistryUnreachableError, match="certificate") as told:
            await registry.find(PLAYER)

    assert wire.asked == []
    assert KEY not in "".join(traceback.format_exception(told.value))


async def test_a_closed_port_is_told_with_its_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        registry = HttpRegistry(RegistryPlace(url, KEY))
        with pytest.raises(RegistryUnreachableError, match=url.removeprefix("http://")) as told:
            await registry.find(PLAYER)
        await registry.aclose()

    assert "PERSTACK_API_BASE_URL" in (told.value.hint or "")


async def test_a_registry_on_this_machine_is_never_asked_by_way_of_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with registry_wire(answer(one("proxied"))) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with asked(answer(one())) as (registry, _):
            assert (await registry.find(PLAYER)).name == "tic-tac-toe"

    assert proxy.asked == []


@pytest.mark.parametrize("key", ["a\nb", "schlüssel", "\x1b[2J", "x" * 5000])
def test_a_key_that_is_none_is_refused_unsaid(key: str) -> None:
    with pytest.raises(ConfigError, match="PERSTACK_API_KEY") as told:
        HttpRegistry(RegistryPlace("https://registry.example", key))

    assert key not in told.value.message


@pytest.mark.parametrize("url", ["https://registry.example/?a=b", "https://registry.example/#a"])
def test_a_url_with_a_query_is_no_registrys(url: str) -> None:
    with pytest.raises(ConfigError, match="query or a fragment"):
        HttpRegistry(RegistryPlace(url))


async def test_a_definition_too_large_to_be_taken_is_not_sent() -> None:
    large = REQUEST.model_copy(update={"instruction": "x" * 1_100_000})
    async with asked(answer(one())) as (registry, wire):
        with pytest.raises(RegistryError, match="cannot be published"):
            await registry.publish(large)

    assert wire.asked == []


async def test_what_json_cannot_say_is_not_sent() -> None:
    endless = REQUEST.model_copy(update={"skills": {"x": {"timeout": float("inf")}}})
    async with asked(answer(one())) as (registry, wire):
        with pytest.raises(RegistryError, match="what JSON cannot say"):
            await registry.publish(endless)

    assert wire.asked == []


async def test_many_ask_at_once_over_one_client() -> None:
    async with asked(answer(one())) as (registry, wire), anyio.create_task_group() as group:
        for _ in range(40):
            group.start_soon(registry.find, PLAYER)

    assert len(wire.asked) == 40


async def test_an_answer_may_say_more_than_we_know() -> None:
    said = one(owner={"organizationId": "o1", "plan": "gold"}, stars=5)
    async with asked(answer({**said, "links": {}})) as (registry, _):
        assert (await registry.find(PLAYER)).owner.organization_id == "o1"

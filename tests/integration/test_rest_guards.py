"""What is refused at the REST door before any route is asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from fastapi import APIRouter, Request
from httpx2 import Response
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from starlette.types import Message, Scope

from perstack.errors import LimitError
from perstack.serving.http.limits import Buckets
from perstack.serving.rest.guards import Bodies, Gate
from perstack.serving.rest.rules import Rules
from tests.fakes.rest_door import RestDoor, rest, rest_door

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
SHOP = "https://shop.example.org"


@asynccontextmanager
async def echoing(workspace: Path, rules: Rules | None = None) -> AsyncGenerator[RestDoor]:
    """The door, with a route that says how many bytes it was sent."""
    async with rest_door(workspace, rules=rules) as door:
        router = APIRouter()

        @router.post("/echo")
        async def echo(request: Request) -> int:
            return len(await request.body())

        door.app.include_router(router)
        yield door


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.org",
        "127.0.0.1.evil.org",
        "",
        "10.0.0.7:3001",
        "[::1]evil.org",
        "localhost:80.evil.org",
    ],
)
async def test_a_foreign_host_is_refused(tmp_path: Path, host: str) -> None:
    async with rest(tmp_path) as client:
        answered = await client.get("/api/v1/agents", headers={"Host": host})
    assert (answered.status_code, answered.json()["code"]) == (403, "denied.host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:3001", "127.0.0.1:9", "[::1]:3001"])
async def test_the_names_of_this_machine_are_let_through(tmp_path: Path, host: str) -> None:
    async with rest(tmp_path) as client:
        answered = await client.get("/api/v1/agents", headers={"Host": host})
    assert answered.status_code == 200


async def test_a_name_that_was_allowed_and_an_address_where_any_may_are_let_through(
    tmp_path: Path,
) -> None:
    rules = Rules(hosts=frozenset({"box.example.org"}), any_address=True)
    async with rest_door(tmp_path, rules=rules) as door:
        for host, status in (
            ("box.example.org:80", 200),
            ("10.0.0.7:3001", 200),
            ("[fd00::1]:3001", 200),
            ("evil.example.org", 403),
        ):
            answered = await door.client.get("/api/v1/agents", headers={"Host": host})
            assert answered.status_code == status, host


@pytest.mark.parametrize(
    "origin", ["null", SHOP, "http://127.0.0.1.evil.org", "http://127.0.0.1:8080", ""]
)
async def test_a_page_from_elsewhere_changes_nothing(tmp_path: Path, origin: str) -> None:
    async with rest(tmp_path) as client:
        answered = await client.post("/api/v1/sessions", json={}, headers={"Origin": origin})
        own = await client.post("/api/v1/sessions", json={}, headers={"Origin": "http://127.0.0.1"})
    assert (answered.status_code, answered.json()["code"]) == (403, "denied.origin")
    assert own.json().get("code") != "denied.origin"


async def test_a_websocket_of_a_page_from_elsewhere_is_refused() -> None:
    sent: list[Message] = []

    async def app(scope: Scope, receive: object, send: object) -> None:
        raise AssertionError("it got through")

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "websocket",
        "path": "/ws",
        "headers": [(b"host", b"localhost"), (b"origin", SHOP.encode())],
        "client": ("127.0.0.1", 1),
        "query_string": b"",
    }
    await Gate(app, Rules())(scope, receive, send)
    assert sent[0]["type"] == "websocket.http.response.start"
    assert sent[0]["status"] == 403


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
async def test_what_a_form_of_any_page_can_send_is_not_taken(tmp_path: Path, kind: str) -> None:
    async with echoing(tmp_path) as door:
        answered = await door.client.post(
            "/echo", content=b'{"type":"coder"}', headers={"Content-Type": kind}
        )
    assert (answered.status_code, answered.json()["code"]) == (403, "denied.content_type")


async def test_a_body_as_large_as_allowed_is_taken_and_one_more_byte_is_not(
    tmp_path: Path,
) -> None:
    async with echoing(tmp_path, Rules(body_bytes=1_000)) as door:
        fits = await door.client.post("/echo", content=b'"%s"' % (b"a" * 998), headers=JSON)
        large = await door.client.post("/echo", content=b'"%s"' % (b"a" * 999), headers=JSON)
    assert (fits.status_code, fits.json()) == (200, 1_000)
    assert (large.status_code, large.json()["code"]) == (413, "limit.size")


async def test_a_body_of_no_stated_length_is_cut_off_where_it_becomes_too_large(
    tmp_path: Path,
) -> None:
    taken = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"a" * 1_000

    sent: list[Message] = []
    source = pieces()

    async def receive() -> Message:
        return {"type": "http.request", "body": await anext(source), "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    async def app(scope: Scope, receive: object, send: object) -> None:
        raise AssertionError("it got through")

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(b"transfer-encoding", b"chunked")],
    }
    await Bodies(app, Rules(body_bytes=10_000))(scope, receive, send)
    assert sent[0]["status"] == 413
    assert taken == 11


async def test_a_body_that_does_not_arrive_is_not_waited_for_forever() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async def app(scope: Scope, receive: object, send: object) -> None:
        raise AssertionError("it got through")

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(b"content-length", b"10")],
    }
    await Bodies(app, Rules(body_s=0.01))(scope, receive, send)
    assert sent[0]["status"] == 408


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[" * 65 + b"]" * 65, "The JSON is nested too deep"),
        (b'{"a":' * 100_000, "The JSON is nested too deep"),
        (b"{", "Invalid JSON body"),
        (b'{"a": NaN}', "Invalid JSON body"),
        (b'"\\ud800"', "Invalid JSON body"),
        (b"\xff\xfe", "Invalid JSON body"),
        # Where every quote could begin a text, looking for its end must not begin anew each time.
        (b'\\"' * 500_000, "Invalid JSON body"),
        (b'"' + b'\\"' * 500_000, "Invalid JSON body"),
    ],
)
async def test_json_that_is_none_or_too_deep_is_refused(
    tmp_path: Path, body: bytes, said: str
) -> None:
    async with echoing(tmp_path) as door:
        answered = await door.client.post("/echo", content=body, headers=JSON)
    assert (answered.status_code, answered.json()["error"]) == (400, said)


def nested(depth: int) -> JsonValue:
    value: JsonValue = '[{"not": "one"}]'
    for _ in range(depth):
        value = [value]
    return value


async def test_brackets_within_texts_are_not_depth(tmp_path: Path) -> None:
    async with echoing(tmp_path) as door:
        deep = await door.client.post("/echo", json=nested(64))
        texts = await door.client.post("/echo", json=["[[[[" * 100, '\\"[' * 100])
    assert (deep.status_code, texts.status_code) == (200, 200)


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/api/v1/../../../etc/passwd", "/api/v1/memory/..%2f..%2fetc/passwd"],
)
async def test_a_path_that_climbs_leads_nowhere(tmp_path: Path, path: str) -> None:
    async with rest_door(tmp_path) as door:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope: Scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path.replace("%2f", "/"),
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await door.app(scope, receive, send)
    assert sent[0]["status"] == 404


async def test_agentstack_row_149_a_preflight_is_answered_for_an_origin_that_was_allowed(
    tmp_path: Path,
) -> None:
    asking = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with rest_door(tmp_path, rules=Rules(origins=frozenset({SHOP}))) as door:
        preflight = await door.client.options("/api/v1/agents", headers=asking)
        foreign = await door.client.options(
            "/api/v1/agents", headers={**asking, "Origin": "https://evil.example.org"}
        )
        asked = await door.client.get("/api/v1/agents", headers={"Origin": SHOP})
    assert (preflight.status_code, preflight.content) == (204, b"")
    assert preflight.headers["access-control-allow-origin"] == SHOP
    assert preflight.headers["access-control-allow-credentials"] == "true"
    assert preflight.headers["access-control-max-age"] == "86400"
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert method in preflight.headers["access-control-allow-methods"]
    for name in ("Content-Type", "Authorization", "X-Requested-With"):
        assert name in preflight.headers["access-control-allow-headers"]
    assert foreign.status_code == 403
    assert "access-control-allow-origin" not in foreign.headers
    assert asked.headers["access-control-allow-origin"] == SHOP


async def test_no_page_from_elsewhere_may_read_unless_it_was_allowed(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        answered = await client.get("/api/v1/agents", headers={"Origin": SHOP})
    assert "access-control-allow-origin" not in answered.headers


async def test_answers_are_neither_kept_nor_taken_for_something_else(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        for path in ("/api/v1/agents", "/api/v1/nothing"):
            answered = await client.get(path)
            assert answered.headers["x-content-type-options"] == "nosniff"
            assert answered.headers["cache-control"] == "no-store"


async def test_an_address_that_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    async with rest_door(tmp_path, rules=Rules(per_s=0.01, burst=2)) as door:
        answers = [await door.client.get("/api/v1") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["retry-after"]) > 90
    assert answers[2].json()["code"] == "limit.rate"


async def test_who_does_not_read_an_answer_takes_nobodys_place(tmp_path: Path) -> None:
    sent, go_on = anyio.Event(), anyio.Event()
    parts: list[int] = []

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def slowly(message: Message) -> None:
        if message["type"] == "http.response.body":
            parts.append(len(message["body"]))
            sent.set()
            await go_on.wait()

    async with rest_door(tmp_path, rules=Rules(requests_at_once=1)) as door:
        description = await door.client.get("/openapi.json")
        scope: Scope = {
            "type": "http",
            "method": "GET",
            "path": "/openapi.json",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1")],
        }
        other: Response | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(door.app, scope, receive, slowly)
            await sent.wait()
            other = await door.client.get("/api/v1")
            go_on.set()
    assert other is not None
    assert other.status_code == 200
    # Each part waits for the one before to be read.
    assert max(parts) == 32 * 1024
    assert sum(parts) == len(description.content)


async def test_more_than_can_be_answered_at_once_is_refused_and_streams_count_apart(
    tmp_path: Path,
) -> None:
    began, go_on = anyio.Event(), anyio.Event()
    rules = Rules(requests_at_once=1)
    async with rest_door(tmp_path, rules=rules) as door:
        router = APIRouter()

        @router.get("/waits")
        async def waits() -> int:
            began.set()
            await go_on.wait()
            return 1

        door.app.include_router(router)
        statuses: list[int] = []
        busy: Response | None = None

        async def ask() -> None:
            statuses.append((await door.client.get("/waits")).status_code)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await began.wait()
            busy = await door.client.get("/waits")
            go_on.set()
        after = await door.client.get("/waits")
    assert busy is not None
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
    assert (statuses, after.status_code) == ([200], 200)


@given(st.lists(st.sampled_from(["a", "b"]), max_size=30))
def test_a_bucket_never_gives_more_than_it_holds(keys: list[str]) -> None:
    async def asking() -> None:
        buckets, given_out = Buckets(per_s=1e-9, burst=3), {"a": 0, "b": 0}
        for key in keys:
            try:
                buckets.take(key)
            except LimitError:
                assert given_out[key] == 3
            else:
                given_out[key] += 1
        for key, count in given_out.items():
            assert count == min(3, keys.count(key))

    anyio.run(asking)

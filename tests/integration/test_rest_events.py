"""GET /events and /ws: the feed as server-sent events and as frames."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perstack.domain.users import Role, UserId
from perstack.ports.system import SystemClock
from perstack.serving.feed import news
from perstack.serving.feed.hub import Feed
from perstack.serving.feed.news import MOST_FRAME_CHARS, News, Wanted
from perstack.serving.feed.rows import Draft
from perstack.serving.rest import leave, sockets
from perstack.serving.rest.routes import events
from tests.fakes.consensus import until
from tests.fakes.feed import Json, Socket, socket, streaming
from tests.fakes.rest_door import RestDoor, rest_door

pytestmark = pytest.mark.anyio

TOKEN = "a token of tests that is long enough"
FOREIGN = (b"origin", b"https://elsewhere.example")
OWN = (b"origin", b"http://127.0.0.1")


def tell(feed: Feed, *names: str, **data: str) -> None:
    now_ms = SystemClock().now_ms()
    feed.tell([Draft(name, now_ms, {**data}) for name in names])


def events_of(*patterns: str) -> Json:
    return {"events": [*patterns]}


# --------------------------------------------------------- server-sent events


async def test_what_happens_comes_as_server_sent_events(tmp_path: Path) -> None:
    async with rest_door(tmp_path) as door, streaming(door.app) as stream:
        made = await door.client.post("/api/v1/agents", json={"type": "coder", "name": "ada"})
        assert made.status_code == 201
        await stream.until("agent:spawned")
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert "retry: 3000\n" in stream.text
    told = stream.events[0]
    assert set(told) == {"id", "type", "timestamp", "data"}
    assert told["id"] == stream.place


async def test_a_stream_tells_the_types_and_the_job_that_it_was_asked_for(tmp_path: Path) -> None:
    async with (
        rest_door(tmp_path) as door,
        streaming(door.app, query="types=task:*,done&job=j1") as stream,
    ):
        tell(door.feed, "task:created", "agent:spawned", jobId="j1")
        tell(door.feed, "task:created", jobId="j2")
        tell(door.feed, "done", jobId="j1")
        await stream.until("done")
    assert stream.types == ["task:created", "done"]


@pytest.mark.parametrize("how", ["header", "query"])
async def test_a_stream_goes_on_after_the_last_event_that_was_seen(
    tmp_path: Path, how: str
) -> None:
    async with rest_door(tmp_path) as door, streaming(door.app) as first:
        tell(door.feed, "one", "two", "three")
        await first.until("three")
        seen = str(first.events[0]["id"])
        query = f"after={seen}" if how == "query" else ""
        headers = [(b"last-event-id", seen.encode())] if how == "header" else []
        async with streaming(door.app, "/events", query, *headers) as again:
            await again.until("three")
    assert again.types == ["two", "three"]


async def test_a_client_that_heard_nothing_yet_can_come_back_all_the_same(tmp_path: Path) -> None:
    async with rest_door(tmp_path) as door:
        async with streaming(door.app) as first:
            await until(lambda: first.place != "")
        async with streaming(door.app):
            tell(door.feed, "meanwhile")
            async with streaming(door.app, query=f"after={first.place}") as again:
                await again.until("meanwhile")


async def test_a_silent_stream_says_that_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.02)
    async with rest_door(tmp_path) as door, streaming(door.app) as stream:
        await until(lambda: stream.text.count(": alive\n") > 1)


async def test_a_client_that_went_away_is_forgotten(tmp_path: Path) -> None:
    async with rest_door(tmp_path) as door:
        async with streaming(door.app), streaming(door.app):
            assert door.feed.clients == 2
        assert door.feed.clients == 0


async def test_the_end_of_the_server_ends_streams_and_sockets(tmp_path: Path) -> None:
    async with (
        rest_door(tmp_path) as door,
        streaming(door.app) as stream,
        socket(door.app) as talk,
    ):
        await talk.until("connected")
        door.feed.close()
        await until(lambda: stream.over)
        assert await talk.next() is None
        assert talk.closed == sockets.GOING_AWAY


@pytest.mark.parametrize("query", ["types=" + "a," * 200, "types=a[b]", "types=" + "a" * 200])
async def test_patterns_that_cannot_be_are_refused(tmp_path: Path, query: str) -> None:
    async with rest_door(tmp_path) as door:
        answer = await door.client.get(f"/events?{query}")
    assert (answer.status_code, answer.json()["success"]) == (400, False)


async def test_a_stream_needs_somebody_who_is_known(tmp_path: Path) -> None:
    async with rest_door(tmp_path, server_token=TOKEN) as door:
        assert (await door.client.get("/events")).status_code == 401
        # A token in an address is written into logs; a socket of a browser has no other way.
        assert (await door.client.get(f"/events?token={TOKEN}")).status_code == 401
        bearer = (b"authorization", f"Bearer {TOKEN}".encode())
        async with streaming(door.app, "/events", "", bearer) as stream:
            assert stream.status == 200


# ------------------------------------------------------------------- sockets


async def test_a_socket_welcomes_and_tells_everything_until_it_subscribes(tmp_path: Path) -> None:
    async with rest_door(tmp_path) as door, socket(door.app) as talk:
        welcome = await talk.until("connected")
        assert isinstance(welcome["payload"], dict)
        assert welcome["payload"]["clientId"]
        assert isinstance(welcome["timestamp"], str)
        tell(door.feed, "agent:spawned", name="ada")
        told = await talk.until("agent:spawned")
        assert told["payload"] == {"name": "ada"}


async def test_subscribing_narrows_adds_and_unsubscribing_takes_away(tmp_path: Path) -> None:
    async with rest_door(tmp_path) as door, socket(door.app) as talk:
        await talk.until("connected")

        async def hears(*names: str) -> list[str]:
            tell(door.feed, *names, "end")
            heard: list[str] = []
            while (frame := await talk.next()) is not None and frame["type"] != "end":
                heard.append(str(frame["type"]))
            return heard

        assert await hears("task:created", "agent:spawned") == ["task:created", "agent:spawned"]
        await talk.say("subscribe", events_of("task:*", "end"))
        assert (await talk.until("subscribed"))["payload"] == events_of("task:*", "end")
        assert await hears("task:created", "agent:spawned") == ["task:created"]
        await talk.say("subscribe", events_of("agent:spawned"))
        await talk.until("subscribed")
        assert await hears("task:created", "agent:spawned") == ["task:created", "agent:spawned"]
        await talk.say("unsubscribe", events_of("task:*"))
        await talk.until("unsubscribed")
        assert await hears("task:created", "agent:spawned") == ["agent:spawned"]


async def test_one_can_unsubscribe_from_some_of_everything(tmp_path: Path) -> None:
    async with rest_door(tmp_path) as door, socket(door.app) as talk:
        await talk.until("connected")
        await talk.say("unsubscribe", events_of("task:*"))
        await talk.until("unsubscribed")
        tell(door.feed, "task:created", "agent:spawned")
        frame = await talk.next()
        assert frame is not None
        assert frame["type"] == "agent:spawned"


async def test_a_ping_is_answered(tmp_path: Path) -> None:
    async with rest_door(tmp_path) as door, socket(door.app) as talk:
        await talk.say("ping")
        await talk.until("pong")


async def test_a_silent_socket_says_that_it_lives_and_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "SILENCE_S", 0.02)
    async with rest_door(tmp_path) as door, socket(door.app) as talk:
        frame = await talk.until("heartbeat")
        assert isinstance(frame["payload"], dict)
        place = frame["payload"]["id"]
        tell(door.feed, "meanwhile")
        async with socket(door.app, f"after={place}") as again:
            await again.until("meanwhile")


BAD = [
    "",
    "no JSON",
    "[]",
    "{}",
    '"ping"',
    '{"type": 5}',
    '{"type": "dance"}',
    '{"type": "subscribe"}',
    '{"type": "subscribe", "payload": {"events": []}}',
    '{"type": "subscribe", "payload": {"events": [5]}}',
    '{"type": "subscribe", "payload": {"events": ["[a]"]}}',
    json.dumps({"type": "subscribe", "payload": {"events": ["a"] * 10 + ["b" * 200]}}),
    "[" * 50_000,
]


@pytest.mark.parametrize("text", BAD)
async def test_a_frame_that_means_nothing_is_an_error_and_no_end(tmp_path: Path, text: str) -> None:
    async with rest_door(tmp_path) as door, socket(door.app) as talk:
        await talk.raw(text)
        assert await _answered(talk)


async def _answered(talk: Socket) -> bool:
    """Tell whether the last frame was an error, and the next is heard all the same."""
    refused = await talk.until("error")
    assert isinstance(refused["payload"], dict)
    assert {"error", "code"} <= set(refused["payload"])
    await talk.say("ping")
    return (await talk.until("pong"))["type"] == "pong"


async def test_a_frame_of_bytes_is_an_error_and_no_end(tmp_path: Path) -> None:
    async with rest_door(tmp_path) as door, socket(door.app) as talk:
        await talk.raw_bytes(b"\xff\x00")
        assert await _answered(talk)


async def test_a_frame_that_is_too_large_ends_the_conversation(tmp_path: Path) -> None:
    async with rest_door(tmp_path) as door, socket(door.app) as talk:
        await talk.raw("x" * (sockets.LARGEST_FRAME + 1))
        await talk.until("error")
        assert await talk.next() is None
        assert talk.closed == sockets.TOO_LARGE


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
_NAMES = st.sampled_from(["subscribe", "unsubscribe", "ping", "auth", "x"])


@settings(max_examples=3, deadline=None)
@given(st.lists(st.tuples(_NAMES, _ANYTHING), min_size=20, max_size=40))
async def test_no_frames_end_a_conversation(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[str, Json]]
) -> None:
    async with rest_door(tmp_path_factory.mktemp("ws")) as door, socket(door.app) as talk:
        await talk.until("connected")
        for name, payload in frames:
            await talk.say(name, payload)
        tell(door.feed, "reset")
        await talk.until("reset")


async def test_news_that_fill_no_frame_come_without_their_data(tmp_path: Path) -> None:
    async with rest_door(tmp_path) as door, socket(door.app) as talk:
        await talk.until("connected")
        tell(door.feed, "run:callTools", jobId="j1", text="x" * (MOST_FRAME_CHARS + 1))
        payload = (await talk.until("run:callTools"))["payload"]
    assert isinstance(payload, dict)
    assert (payload["jobId"], payload["omitted"], "text" in payload) == ("j1", True, False)


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        (f"token={TOKEN.replace(' ', '+')}", []),
        ("", [(b"authorization", f"Bearer {TOKEN}".encode())]),
        ("", [(b"x-api-key", TOKEN.encode())]),
    ],
)
async def test_a_socket_takes_a_token_from_its_address_or_headers(
    tmp_path: Path, query: str, headers: list[tuple[bytes, bytes]]
) -> None:
    async with (
        rest_door(tmp_path, server_token=TOKEN) as door,
        socket(door.app, query, *headers) as talk,
    ):
        await talk.until("connected")


async def test_a_socket_takes_a_token_from_its_first_frame(tmp_path: Path) -> None:
    async with rest_door(tmp_path, server_token=TOKEN) as door, socket(door.app) as talk:
        await talk.say("auth", {"token": TOKEN})
        await talk.until("connected")


@pytest.mark.parametrize(
    "first", ['{"type":"ping"}', '{"type":"auth","payload":{"token":"no"}}', "x"]
)
async def test_a_socket_of_nobody_is_told_so_and_closed(tmp_path: Path, first: str) -> None:
    async with rest_door(tmp_path, server_token=TOKEN) as door, socket(door.app) as talk:
        await talk.raw(first)
        frame = await talk.next()
        assert frame is not None
        assert frame["type"] == "error"
        assert await talk.next() is None
        assert talk.closed == sockets.REFUSED
        assert door.feed.clients == 0


async def test_a_socket_with_a_wrong_token_is_not_asked_again(tmp_path: Path) -> None:
    async with rest_door(tmp_path, server_token=TOKEN) as door, socket(door.app, "token=x") as talk:
        assert (await talk.until("error"))["type"] == "error"
        assert await talk.next() is None


async def test_a_socket_that_says_nothing_is_closed_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "AUTH_WITHIN_S", 0.05)
    async with rest_door(tmp_path, server_token=TOKEN) as door, socket(door.app) as talk:
        await talk.until("error")
        assert await talk.next() is None


async def test_a_page_of_elsewhere_gets_no_socket(tmp_path: Path) -> None:
    async with rest_door(tmp_path) as door:
        async with socket(door.app, "", FOREIGN) as talk:
            assert await talk.next() is None
            assert talk.refused or talk.closed is not None
        assert door.feed.clients == 0
        async with socket(door.app, "", OWN) as talk:
            await talk.until("connected")


# ------------------------------------------------------ who may not any more


async def access_token(door: RestDoor, role: Role = "viewer") -> tuple[str, str]:
    """Add a user, and return the id and an access token."""
    made = await door.users.add(
        email="ann@example.org", username="ann", password="long enough", role=role
    )
    return made.id, door.signer.sign(made)


@pytest.mark.parametrize("deed", ["sign out", "remove"])
async def test_who_signed_out_or_was_removed_follows_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    async with rest_door(tmp_path, server_token=TOKEN) as door:
        user_id, token = await access_token(door)
        header = (b"x-api-key", token.encode())
        async with (
            streaming(door.app, "/events", "", header) as stream,
            socket(door.app, "", header) as talk,
        ):
            await talk.until("connected")
            tell(door.feed, "before")
            await stream.until("before")
            await talk.until("before")
            monkeypatch.setattr(leave, "LOOK_S", 0.0)
            tell(door.feed, "still")
            await stream.until("still")
            await talk.until("still")
            gone = door.users.sign_out if deed == "sign out" else door.users.delete
            await gone(UserId(user_id))
            tell(door.feed, "after")
            await until(lambda: stream.over)
            assert await talk.next() is None
            assert talk.closed == sockets.REFUSED
            assert "after" not in stream.text
            assert door.feed.clients == 0


def test_patterns_are_made_ready_once_however_many_there_are() -> None:
    wanted = [Wanted(tuple(f"task:{one}:{number}*" for number in range(20))) for one in range(40)]
    made = News(None, 1, "task:3:7", 0, {})
    assert sum(one.takes(made) for one in wanted) == 1
    before = news.compiled.cache_info().misses
    assert sum(one.takes(made) for one in wanted) == 1
    assert news.compiled.cache_info().misses == before

"""What is sent to a registry to break it: names, bodies, paths, hosts."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator

import anyio
import pytest
from anyio import connect_tcp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perstack.domain.registry import API
from perstack.errors import LockedError
from perstack.services.registry.access import RegistryAccess
from perstack.services.registry.shelf import RegistryShelf
from perstack.serving.registry import routes
from tests.fakes.registry_calls import BASE, Calls, calling, definition, expert_in, reason_in
from tests.fakes.registry_server import RegistryServer, registry_running

pytestmark = pytest.mark.anyio

NAMES = [
    "",
    "..",
    "../../etc/passwd",
    "@acme/../x",
    "@acme/..",
    "@acme/a/b",
    "@acme/",
    "@/x",
    "@acme",
    "@acme/Writer",
    "@acme/wr\u0456ter",
    "@acme/\uff57riter",
    "@acme/writer\u200b",
    "@acme/writer\u202e",
    "@acme/wri\nter",
    "@acme/wri\x00ter",
    "@acme/wri\x1b[31mter",
    "@acme/writer ",
    " @acme/writer",
    "@acme/writer\n",
    "@acme/writer@1.0.0",
    "@acme/writer@latest",
    "@acme\\writer",
    "@acme%2Fwriter",
    "@acme/con.txt",
    "@acme/-writer",
    "@acme/" + "x" * 256,
    "@" + "x" * 129 + "/x",
    "x" * 100_000,
    "\ud7ff",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RegistryServer]:
    """One for all of them: it lives on, and what a test publishes it takes away."""
    with registry_running(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
async def acme(server: RegistryServer) -> AsyncGenerator[Calls]:
    async with calling(server.url, server.key("acme")) as calls:
        yield calls


async def works(acme: Calls) -> None:
    """Check that the server does what it should."""
    expert_in(await acme.publish())
    expert_in(await acme.unpublish("@acme/writer@1.0.0"))


async def test_a_hostile_name_is_neither_published_nor_found(acme: Calls) -> None:
    for name in NAMES:
        reason = reason_in(await acme.publish(name), 422)
        assert reason.isprintable(), name
        assert len(reason) < 1_000, name
        if len(name) < 10_000:
            found = await acme.find(name)
            assert found.status_code in (200, 404, 422), name
            assert found.status_code != 200 or name == "", name
    assert (await acme.search()).json()["meta"]["total"] == 0


@pytest.mark.parametrize(
    "version",
    [
        *("", "1", "1.0", "v1.0.0", "1.0.0 ", "1.0.0\n", "01.0.0", "1.0.0-01", "latest"),
        *("1.0.0-é", "1.0.0-" + "a" * 300, "\u0661.0.0", "1.0.0/..", "9999999999.0.0"),
    ],
)
async def test_a_hostile_version_is_not_published(acme: Calls, version: str) -> None:
    assert "version" in reason_in(await acme.publish(version=version), 422)


@pytest.mark.parametrize(
    "more",
    [
        {"instruction": ""},
        {"instruction": None},
        {"instruction": 7},
        {"instruction": "x" * 20_481},
        {"description": "x" * 2_049},
        {"skills": None},
        {"skills": [BASE]},
        {"skills": {**BASE, "web": {"type": "unknownSkill"}}},
        {"skills": {**BASE, "web": {"type": "mcpStdioSkill", "command": "sh", "args": ["-c"]}}},
        {"skills": {**BASE, "web": {"type": "mcpSseSkill", "endpoint": "http://10.0.0.1/x"}}},
        {"skills": {**BASE, "web": {"type": "mcpSseSkill", "endpoint": "https://x.org/?key=1"}}},
        {"delegates": "@acme/reader"},
        {"delegates": [7]},
        {"delegates": ["x"] * 256},
        {"delegates": ["../../x"]},
        {"tags": ["Beta"]},
        {"tags": ["a b"]},
        {"tags": ["t"] * 1_000},
        {"tags": ["x" * 65]},
        {"minRuntimeVersion": "newest"},
        {"runtime": "docker"},
        {"owner": {"organizationId": "me"}},
        {"status": "available"},
        {"id": "1"},
    ],
    ids=lambda more: ",".join(f"{key}={str(value)[:30]}" for key, value in more.items()),
)
async def test_what_a_file_could_not_hold_is_not_published(
    acme: Calls, more: dict[str, object]
) -> None:
    body = {**definition(), **more}
    body = {key: value for key, value in body.items() if value is not None}
    answered = await acme.client.post(f"{API}/", json=body, headers=acme.headers)
    reason_in(answered, 422)
    assert (await acme.find("@acme/writer")).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b"null", 422),
        (b'"x"', 422),
        (b"\xff\xfe", 422),
        (b'{"name": "\\ud800"}', 422),
        (b'{"name": NaN}', 422),
        (b"[" * 100_000, 422),
        (b'{"skills":' * 70 + b"1" + b"}" * 70, 422),
        (json.dumps(definition(skills={**BASE, "web": {"x": "y" * 1_100_000}})).encode(), 413),
    ],
    ids=[
        *("empty", "half", "list", "null", "text", "bytes", "surrogate", "nan", "deep", "nested"),
        "definition",
    ],
)
async def test_a_hostile_body_is_refused_and_the_server_lives_on(
    acme: Calls, body: bytes, status: int
) -> None:
    headers = {**acme.headers, "Content-Type": "application/json"}
    for path in (f"{API}/", f"{API}/%40acme%2Fwriter%401.0.0"):
        wanted = status if path == f"{API}/" else 422
        reason_in(await acme.client.post(path, content=body, headers=headers), wanted)
    await works(acme)


@pytest.mark.parametrize("number", ["1e400", "[-1e400]", '{"x": 1e999}'])
async def test_a_number_that_could_never_be_told_again_is_refused(acme: Calls, number: str) -> None:
    web = {"type": "mcpStdioSkill", "command": "npx", "packageName": "a", "later": "@"}
    body = json.dumps(definition(skills={**BASE, "web": web})).replace('"@"', number)
    headers = {**acme.headers, "Content-Type": "application/json"}
    answered = await acme.client.post(f"{API}/", content=body, headers=headers)
    assert "too large" in reason_in(answered, 422)
    await works(acme)


async def test_a_body_that_is_too_large_is_refused_before_it_is_sent(
    server: RegistryServer,
) -> None:
    async with await connect_tcp("127.0.0.1", server.port) as stream:
        key = f"Authorization: Bearer {server.key()}"
        lines = (f"POST {API}/ HTTP/1.1", "Host: localhost", key, "Content-Length: 3145729")
        await stream.send("\r\n".join((*lines, "", "")).encode())
        answer = b""
        while not answer.endswith(b"}"):
            answer += await stream.receive()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"3,145,728 bytes" in answer


async def test_only_json_is_taken(acme: Calls) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; b=x"):
        headers = {**acme.headers, "Content-Type": kind}
        body = json.dumps(definition())
        answered = await acme.client.post(f"{API}/", content=body, headers=headers)
        assert "JSON" in reason_in(answered, 415)


async def test_a_page_of_elsewhere_and_a_foreign_host_are_refused(acme: Calls) -> None:
    for headers in ({"Host": "evil.example.org"}, {"Host": "registry.example.org:80"}):
        answered = await acme.client.get(f"{API}/", headers=headers)
        assert "perstack registry serve --allow-host" in reason_in(answered, 403)
    origin = {**acme.headers, "Origin": "https://evil.example.org"}
    assert reason_in(await acme.client.post(f"{API}/", json=definition(), headers=origin), 403)


@pytest.mark.parametrize(
    "path",
    [
        "/%2e%2e/%2e%2e/etc/passwd",
        "/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/..%5c..%5cx",
        "/%00",
        "/%ff%fe",
        "/%40acme%2Fwriter%0d%0aX-Evil:%201",
        "/%25%34%30acme",
        "/" + "a" * 20_000,
        "//",
        "///%40acme%2Fwriter///versions",
        "/%40acme%2Fwriter/versions/versions",
        "/%40acme/writer/x/versions",
    ],
)
async def test_a_hostile_path_leads_nowhere(server: RegistryServer, acme: Calls, path: str) -> None:
    async with await connect_tcp("127.0.0.1", server.port) as stream:
        head = f"GET {API}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        await stream.send(head.encode())
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            answer += await stream.receive()
    assert answer.split(b" ", 2)[1] in (b"404", b"422")
    assert b"X-Evil" not in answer.partition(b"\r\n\r\n")[0]


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    at=st.sampled_from(["name", "version", "instruction", "skills", "delegates", "tags"]),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_whatever_a_body_holds_it_is_published_or_refused(
    acme: Calls, body: object, at: str
) -> None:
    sent = json.dumps({**definition(), at: body}).encode()
    headers = {**acme.headers, "Content-Type": "application/json"}
    answered = await acme.client.post(f"{API}/", content=sent, headers=headers)
    if answered.status_code == 200:
        expert_in(await acme.unpublish(expert_in(answered)["key"]))
        return
    assert answered.status_code in (400, 422), answered.text
    assert reason_in(answered, answered.status_code).isprintable()


async def test_what_nobody_thought_of_is_answered_in_the_same_shape_and_logged(
    acme: Calls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret of the inside")

    with monkeypatch.context() as patched:
        patched.setattr(RegistryShelf, "find", broken)
        answered = await acme.find("@acme/writer")
        assert "its log says why" in reason_in(answered, 500)
        patched.setattr(RegistryAccess, "admit", broken)
        assert reason_in(await acme.publish(), 500) == reason_in(answered, 500)
    assert caplog.text.count("a secret of the inside") >= 2
    await works(acme)


async def test_tables_that_somebody_else_holds_are_busy_and_not_for_ever(
    server: RegistryServer, acme: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def held(*_: object) -> None:
        raise LockedError("perstack.db is locked by another process")

    async def slow(*_: object) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(routes, "ANSWER_S", 0.01)
    for why in (held, slow):
        monkeypatch.setattr(RegistryShelf, "find", why)
        answered = await acme.find("@acme/writer")
        assert "busy" in reason_in(answered, 503)
        assert answered.headers["retry-after"] == "1"

"""Telling a person: a real command, and a webhook on a loopback server."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import psutil
import pytest

from perstack.domain.ids import ConsensusId, ExpertKey, JobId, RunId
from perstack.domain.settings import NotifySettings
from perstack.ports.notices import Notice, Notifier
from perstack.services.notify import ConfiguredNotifier
from tests.fakes.consensus import until

pytestmark = pytest.mark.anyio

NOTICE = Notice(
    kind="consensus",
    job_id=JobId("job1"),
    run_id=RunId("run1"),
    expert_key=ExpertKey("release-captain"),
    title="Risk level 'high' at depth 1 requires consensus \x1b[31m",
    risk="high",
    consensus_id=ConsensusId("k1"),
    expires_at=1_790_000_000_000,
)
BODY = {
    "kind": "consensus",
    "jobId": "job1",
    "runId": "run1",
    "expertKey": "release-captain",
    "title": "Risk level 'high' at depth 1 requires consensus \x1b[31m",
    "risk": "high",
    "id": "k1",
    "expiresAt": 1_790_000_000_000,
}


def notifier(*command: str, webhook: str | None = None, bound_s: float = 10.0) -> Notifier:
    settings = NotifySettings(command=command, webhook=webhook)
    return ConfiguredNotifier(settings, env=dict(os.environ), bound_s=bound_s)


def script(code: str, *args: object) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *map(str, args))


async def test_without_settings_nobody_is_told() -> None:
    await notifier().notify(NOTICE)


async def test_a_command_gets_the_notice_as_json(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    await notifier(*script(code, told)).notify(NOTICE)
    assert json.loads(told.read_text()) == BODY


async def test_a_question_has_neither_risk_nor_expiry(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    question = Notice("question", JobId("j"), RunId("r"), ExpertKey("e"), "askUser")
    await notifier(*script(code, told)).notify(question)
    assert json.loads(told.read_text()) | {"kind": ""} == {
        "kind": "",
        "jobId": "j",
        "runId": "r",
        "expertKey": "e",
        "title": "askUser",
        "risk": None,
        "id": None,
        "expiresAt": None,
    }


async def test_a_command_sees_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    monkeypatch.setenv("LC_TIME", "C")
    told = tmp_path / "told"
    code = "import json, os, sys; open(sys.argv[1], 'w').write(json.dumps(dict(os.environ)))"
    await notifier(*script(code, told)).notify(NOTICE)
    seen = json.loads(told.read_text())
    assert "canary" not in seen.values()
    assert seen["LC_TIME"] == "C"
    assert "PATH" in seen


async def test_a_command_runs_in_a_process_group_of_its_own(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpgrp()))"
    await notifier(*script(code, told)).notify(NOTICE)
    assert int(told.read_text()) != os.getpgrp()


@pytest.mark.parametrize(
    ("command", "logged"),
    [
        (("/no/such/program",), "could not be started"),
        (("a\0b",), "could not be started"),
        (("false",), "ended with 1"),
    ],
)
async def test_a_command_that_fails_is_logged(
    caplog: pytest.LogCaptureFixture, command: tuple[str, ...], logged: str
) -> None:
    await notifier(*command).notify(NOTICE)
    assert logged in caplog.text


async def test_a_command_that_does_not_read_has_not_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await notifier("true").notify(NOTICE)
    assert caplog.text == ""


async def test_a_command_that_hangs_is_ended_with_its_children(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pids = tmp_path / "pids"
    code = 'trap "" TERM; sleep 600 & echo $$ $! > "$0"; wait'
    with anyio.fail_after(20):
        await notifier("sh", "-c", code, str(pids), bound_s=2).notify(NOTICE)
    assert "was ended after 2 s" in caplog.text
    await until(lambda: gone(pids))


async def test_cancelling_ends_the_command(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, sys, time; open(sys.argv[1] + '~', 'w').write(str(os.getpid()));"
        "os.rename(sys.argv[1] + '~', sys.argv[1]); time.sleep(600)"
    )
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(notifier(*script(code, pids), bound_s=600).notify, NOTICE)
            await until(pids.exists)
            group.cancel_scope.cancel()
    await until(lambda: gone(pids))


def gone(pids: Path) -> bool:
    return not any(is_alive(int(pid)) for pid in pids.read_text().split())


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# ------------------------------------------------------------------ webhook

Requests = list[tuple[str, dict[str, object]]]


@asynccontextmanager
async def webhook(answer: str) -> AsyncGenerator[tuple[str, Requests]]:
    """Serve `answer` (a status line and headers) to every request and keep the requests."""
    requests: Requests = []

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            head, body = await read_request(stream)
            requests.append((head, json.loads(body)))
            if answer:
                await stream.send(f"{answer}\r\nconnection: close\r\n\r\n".encode())
            else:
                await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        group.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{port}/hook/SECRETPATH", requests
        group.cancel_scope.cancel()


async def read_request(stream: anyio.abc.SocketStream) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive()
    head, _, body = data.partition(b"\r\n\r\n")
    (length,) = [
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    while len(body) < length:
        body += await stream.receive()
    return head.decode(), body


async def test_a_webhook_gets_the_notice_as_json(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with webhook("HTTP/1.1 204 No Content") as (url, requests):
        await notifier(webhook=url).notify(NOTICE)
    ((head, body),) = requests
    assert head.startswith("POST /hook/SECRETPATH HTTP/1.1")
    assert "application/json" in head
    assert body == BODY
    assert "SECRETPATH" not in caplog.text


@pytest.mark.parametrize(
    "answer", ["HTTP/1.1 500 Oops", "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/"]
)
async def test_a_webhook_that_refuses_is_logged_without_its_path(
    caplog: pytest.LogCaptureFixture, answer: str
) -> None:
    async with webhook(answer) as (url, requests):
        await notifier(webhook=url).notify(NOTICE)
    assert len(requests) == 1
    assert "the notify webhook at 127.0.0.1 answered" in caplog.text
    assert "SECRETPATH" not in caplog.text


@pytest.mark.parametrize("answer", ["nonsense", "HTTP/1.1 xyz"])
async def test_a_webhook_that_talks_nonsense_is_logged(
    caplog: pytest.LogCaptureFixture, answer: str
) -> None:
    async with webhook(answer) as (url, _):
        await notifier(webhook=url).notify(NOTICE)
    assert "could not be reached" in caplog.text


async def test_a_webhook_that_never_answers_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(20):
        async with webhook("") as (url, _):
            await notifier(webhook=url, bound_s=0.5).notify(NOTICE)
    assert "the notify webhook at 127.0.0.1" in caplog.text


async def test_a_webhook_nobody_listens_at_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with webhook("x") as (url, _):
        pass
    await notifier(webhook=url).notify(NOTICE)
    assert "could not be reached" in caplog.text


@pytest.mark.parametrize(
    "url", ["", "nonsense", "http://", "http://[", "ftp://127.0.0.1/x", "http://127.0.0.1:x/"]
)
async def test_a_webhook_that_is_no_address_raises_nothing(url: str) -> None:
    await notifier(webhook=url).notify(NOTICE)


async def test_command_and_webhook_are_told_both(tmp_path: Path) -> None:
    told = tmp_path / "told"
    async with webhook("HTTP/1.1 200 OK") as (url, requests):
        await notifier("touch", str(told), webhook=url).notify(NOTICE)
    assert told.exists()
    assert len(requests) == 1

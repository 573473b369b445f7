"""The MCP server over standard input and output: what clients send wrong, and how it ends."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest, JSONRPCResponse

from perstack.serving.mcp import lines
from perstack.serving.mcp.lines import LineReader, TooLongError, messages
from tests.fakes.mcp_http_door import INITIALIZE

Json = dict[str, Any]

SERVER: Final = (sys.executable, "-m", "perstack", "mcp", "start", "--trust")
BOUND_S: Final = 30.0
TOML: Final = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
[experts.lead]
instruction = "You lead."
"""
ENDLESS: Final = '[[turns]]\ntext = "On."\nlatency_ms = 60000\n'


class Program:
    """The running program; its lines are read as they come."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def send(self, *messages: Json | bytes) -> None:
        assert self.process.stdin is not None
        for one in messages:
            line = one if isinstance(one, bytes) else json.dumps(one).encode()
            self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def until(self, holds: Callable[[Json], bool]) -> list[Json]:
        """Return what it says until a message for which `holds`; each line must be JSON-RPC."""
        assert self.process.stdout is not None
        seen: list[Json] = []
        while line := self.process.stdout.readline():
            seen.append(json.loads(line))
            assert seen[-1]["jsonrpc"] == "2.0"
            if holds(seen[-1]):
                return seen
        raise AssertionError(f"it ended: {seen}")

    def answer(self, id_: int) -> Json:
        return self.until(lambda message: message.get("id") == id_)[-1]

    def close(self) -> int:
        """Close its standard input; return its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(BOUND_S)

    def rest(self) -> list[Json]:
        assert self.process.stdout is not None
        return [json.loads(line) for line in self.process.stdout.read().splitlines()]


@contextmanager
def program(folder: Path, **env: str) -> Generator[Program]:
    """Start it in `folder`; whatever happens, it is gone afterwards."""
    with subprocess.Popen(
        SERVER,
        cwd=folder,
        env={**os.environ, **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        timer = threading.Timer(BOUND_S, process.kill)
        timer.start()
        try:
            yield Program(process)
        finally:
            timer.cancel()
            process.kill()


def call(id_: int, name: str, arguments: Json, **meta: Any) -> Json:
    params = {"name": name, "arguments": arguments, **({"_meta": meta} if meta else {})}
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}


INITIALIZED: Final[Json] = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def test_agentstack_row_004_what_is_no_message_is_answered_and_stdout_has_only_json_rpc(
    tmp_path: Path,
) -> None:
    with program(tmp_path, PERSTACK_DEBUG="1") as it:
        it.send(
            b"garbage",
            b"\xff\xfe\x00",
            b"[" * 200_000,
            b'[{"jsonrpc":"2.0","id":7,"method":"ping"}]',
            b'{"id":1}',
            b"x" * 50_000_000,
            INITIALIZE,
            INITIALIZED,
            call(2, "agent_list", {}),
        )
        seen = it.until(lambda message: message.get("id") == 2)
        codes = [message["error"]["code"] for message in seen if message.get("id") is None]
        assert codes == [-32700, -32700, -32700, -32600, -32600, -32600]
        assert seen[-1]["result"]["structuredContent"]["count"] == 0
        assert it.close() == 0
        assert it.rest() == []


def test_what_was_asked_just_before_the_end_is_answered(tmp_path: Path) -> None:
    with program(tmp_path) as it:
        it.send(INITIALIZE, INITIALIZED, call(2, "expert_list", {}))
        assert it.close() == 0
        assert [message["id"] for message in it.rest()] == [1, 2]


def test_a_client_that_reads_no_more_is_served_no_more(tmp_path: Path) -> None:
    with program(tmp_path) as it:
        it.send(INITIALIZE, INITIALIZED)
        it.answer(1)
        assert it.process.stdout is not None
        it.process.stdout.close()
        it.send(call(2, "expert_list", {}))
        assert it.process.wait(BOUND_S) == 0


@pytest.mark.parametrize("ends", ["eof", "term", pytest.param("int", marks=pytest.mark.long)])
def test_a_job_at_work_is_stopped_at_a_checkpoint_when_the_server_ends(
    tmp_path: Path, ends: str
) -> None:
    (tmp_path / "perstack.toml").write_text(TOML)
    (tmp_path / "scenario.toml").write_text(ENDLESS)
    with program(tmp_path) as it:
        asked = {"expert": "lead", "query": "go"}
        it.send(INITIALIZE, INITIALIZED, call(2, "expert_run", asked, progressToken="p"))
        it.until(lambda message: message.get("method") == "notifications/progress")
        if ends == "eof":
            assert it.close() == 0
        else:
            it.process.send_signal(signal.SIGTERM if ends == "term" else signal.SIGINT)
            assert it.process.wait(BOUND_S) == 0
    (job,) = (tmp_path / "perstack" / "jobs").iterdir()
    (events,) = job.glob("runs/*/events.jsonl")
    assert "suspendRun" in events.read_text().splitlines()[-1]


def test_a_client_that_reads_nothing_cannot_keep_the_server_from_ending(tmp_path: Path) -> None:
    with program(tmp_path) as it:
        it.send(INITIALIZE, INITIALIZED)
        it.answer(1)
        it.send(*({"jsonrpc": "2.0", "id": 2 + n, "method": "tools/list"} for n in range(20)))
        it.process.send_signal(signal.SIGTERM)
        assert it.process.wait(BOUND_S) == 0


async def lines_of(pieces: list[bytes], longest: int) -> list[bytes | None]:
    """Return the lines that are read, None for one that was too long."""
    read_fd, write_fd = os.pipe()
    seen: list[bytes | None] = []

    async def write() -> None:
        for piece in pieces:
            await anyio.to_thread.run_sync(os.write, write_fd, piece)
            await anyio.lowlevel.checkpoint()
        os.close(write_fd)

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        reader = LineReader(read_fd, longest=longest)
        while True:
            try:
                line = await reader.line()
            except TooLongError:
                seen.append(None)
                continue
            if line is None:
                break
            seen.append(line)
    os.close(read_fd)
    return seen


@given(
    lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b""))),
    cuts=st.lists(st.integers(0, 300), max_size=8),
    is_ended=st.booleans(),
)
def test_lines_come_whole_however_they_are_cut_and_long_ones_cost_only_themselves(
    lines: list[bytes], cuts: list[int], is_ended: bool
) -> None:
    sent = b"\n".join(lines) + (b"\n" if is_ended and lines else b"")
    places = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    pieces = [sent[a:b] for a, b in itertools.pairwise(places)]
    expected = [line if len(line) <= 16 else None for line in lines]
    if lines and not is_ended and not lines[-1]:
        expected.pop()
    assert anyio.run(lines_of, pieces, 16) == expected


@pytest.mark.anyio
async def test_a_client_that_asks_too_much_at_once_is_refused_until_something_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "MOST_OPEN", 2)
    (read_fd, asks), (told, write_fd) = os.pipe(), os.pipe()
    said = LineReader(told)

    def ask(*ids: int) -> None:
        for id_ in ids:
            line = {"jsonrpc": "2.0", "id": id_, "method": "tools/list"}
            os.write(asks, json.dumps(line).encode() + b"\n")

    async def message() -> Json:
        line = await said.line()
        assert line is not None
        return json.loads(line)

    try:
        with anyio.fail_after(BOUND_S):
            async with messages(read_fd, write_fd) as (received, sent), received, sent:

                async def taken() -> int | str:
                    got = await received.receive()
                    assert isinstance(got, SessionMessage)
                    assert isinstance(got.message, JSONRPCRequest)
                    return got.message.id

                ask(1, 2, 3)
                assert [await taken(), await taken()] == [1, 2]
                refused = await message()
                assert (refused["id"], refused["error"]["code"]) == (3, -32000)
                done = JSONRPCResponse(jsonrpc="2.0", id=1, result={})
                await sent.send(SessionMessage(done))
                assert (await message())["id"] == 1
                ask(4)
                assert await taken() == 4
    finally:
        for fd in (read_fd, asks, told, write_fd):
            os.close(fd)

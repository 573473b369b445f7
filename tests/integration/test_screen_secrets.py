"""Keys do not reach the cockpit's screen: the real program in a real pseudo-terminal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import pexpect
import pytest

from tests.fakes.cli import ANTHROPIC_KEY, PROGRAM, Program, by_expert, calls
from tests.fakes.model_server import model_server
from tests.fakes.model_wire import Call, Refusal

pytestmark = pytest.mark.anyio

FILE_TOKEN: Final = "canary-file-0123456789"
SKILL_KEY: Final = "canary-skill-0123456789"
TOML: Final = """
[provider.setting]
headers = { "x-proxy-token" = "canary-header-0123456789" }
[experts.solo]
instruction = "You are solo."
"""
# The end of what each canary starts with; a terminal may break a long word, not so short a one.
TRACES: Final = (b"canary-", ANTHROPIC_KEY[:13].encode())


@dataclass
class Seen:
    """All bytes that a terminal was sent."""

    data: bytes = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def flush(self) -> None:
        """Nothing is held back."""


def _watched(program: Program, first: bytes, opened: bytes) -> bytes:
    """Start the cockpit on a job, wait for `first`, show all of the run; return what was sent."""
    seen = Seen()
    child: pexpect.spawn[bytes] = pexpect.spawn(
        PROGRAM[0],
        [*PROGRAM[1:], "start", "solo", "go", "--max-retries", "0"],
        cwd=str(program.workspace),
        env={**program.env, "TERM": "xterm-256color"},
        dimensions=(50, 200),
        timeout=40,
    )
    child.logfile_read = seen
    try:
        child.expect(first)
        for _ in range(20):
            child.send(b"5")
            child.send(b"\r")
            if child.expect([opened, pexpect.TIMEOUT], timeout=2) == 0:
                break
    finally:
        child.close(force=True)
    return seen.data


async def test_what_tools_print_and_vendors_quote_is_shown_without_keys(tmp_path: Path) -> None:
    script = "echo begun; cat .env; echo $API_KEY; cat .env >&2; echo ended"
    reading = calls(
        Call("readTextFile", {"path": ".env"}),
        Call("exec", {"command": "sh", "args": ["-c", script]}),
    )
    echo = f"no such key: {ANTHROPIC_KEY}, header canary-header-0123456789, token {FILE_TOKEN}"
    async with model_server(decide=by_expert({"solo": [reading, Refusal(401, echo)]})) as server:
        program = Program.make(
            tmp_path / "w", TOML, base_url=server.url, env={"API_KEY": SKILL_KEY}
        )
        (program.workspace / ".env").write_text(f"DEPLOY_TOKEN={FILE_TOKEN}\n")
        data = await anyio.to_thread.run_sync(
            partial(_watched, program, rb"no such key: \*\*\*", rb"DEPLOY_TOKEN=\[redacted\]")
        )
    assert [trace for trace in TRACES if trace in data] == []

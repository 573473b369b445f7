"""The fake model server as a process of its own, and what it answers in each benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import anyio

from bench.measure import ROOT
from tests.fakes.model_server import Answer, Seen, model_server
from tests.fakes.model_wire import Call, Reply

COORDINATOR: Final = "You are the coordinator."
_STEP_TEXT: Final = "I look at the next part of the file before I go on, to be sure what it says. "


@contextmanager
def serving(mode: str, number: int, latency_ms: int = 0) -> Generator[str]:
    """Serve from another process; yield its URL.

    `mode` "steps": `number` tool calls, then the result. "delegates": the coordinator calls
    `number` delegates at once, each of which answers after `latency_ms`.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "bench.server", mode, str(number), str(latency_ms)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child.stdout.readline().strip() if child.stdout else ""
        finally:
            child.kill()


def _steps(number: int) -> object:
    def decide(seen: Seen) -> Answer:
        if seen.assistant_messages >= number:
            return Reply(text=["All read."])
        call = Call("readTextFile", {"path": "notes.txt"})
        return Reply(text=[_STEP_TEXT], calls=[call])

    return decide


def _delegates(number: int, latency_s: float) -> object:
    def decide(seen: Seen) -> Answer:
        if COORDINATOR not in json.dumps(seen.body):
            return Reply(text=["Done."], latency_s=latency_s)
        if seen.assistant_messages:
            return Reply(text=["All done."], latency_s=latency_s)
        calls = [Call("worker", {"query": f"part {n}"}) for n in range(number)]
        return Reply(calls=calls, latency_s=latency_s)

    return decide


async def _main(mode: str, number: int, latency_ms: int) -> None:
    decide = _steps(number) if mode == "steps" else _delegates(number, latency_ms / 1000)
    async with model_server(decide=decide) as server:  # pyright: ignore[reportArgumentType]
        print(server.url, flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(_main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

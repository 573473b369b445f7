"""A process that works on a history as it is told, a command a line, and answers each.

Run as `python -m tests.fakes.history_process WORKSPACE`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from anyio.abc import Process

from perstack.domain.ids import JobId, RunId
from perstack.errors import ConflictError
from perstack.ports.history import DrivenJob, RunLog
from tests.fakes.history import append_to, bodies, delta, history, job, setting

_ROOT: Final = Path(__file__).parents[2]


class Driver:
    """The other end, in the test's process."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._unread = b""

    async def tell(self, command: str) -> str:
        """Send a command and return the answer."""
        await self.send(command)
        return await self.answer()

    async def send(self, command: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send(command.encode() + b"\n")

    async def answer(self) -> str:
        assert self.process.stdout is not None
        with anyio.fail_after(20):
            while b"\n" not in self._unread:
                self._unread += await self.process.stdout.receive()
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    async def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def start_driver(workspace: Path) -> AsyncGenerator[Driver]:
    command = [sys.executable, "-m", "tests.fakes.history_process", str(workspace)]
    async with await anyio.open_process(command, cwd=_ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            yield Driver(process)
        finally:
            if process.returncode is None:
                process.kill()


async def _serve(workspace: Path) -> None:
    while (command := await _next_command()) is not None:
        name, _, job_id = command.partition(" ")
        store = history(workspace)
        holding = (
            store.create_job(job(job_id)) if name == "create" else store.drive_job(JobId(job_id))
        )
        try:
            async with holding as held:
                _answer(f"held {os.getpid()}")
                await _drive(held, job_id)
        except ConflictError as error:
            _answer(f"conflict {error.message}")
        else:
            _answer("released")


async def _drive(held: DrivenJob, job_id: str) -> None:
    log: RunLog | None = None
    while (command := await _next_command()) not in (None, "release"):
        match command.split() if command else []:
            case ["run"]:
                log = await held.create_run(setting(job_id=job_id))
            case ["reopen"]:
                log = (await held.reopen_run(RunId("run1")))[1]
            case ["append", count] if log:
                append_to(log, int(count))
            case ["pour", count] if log:  # never answered in time: the test kills us meanwhile
                _pour(log, int(count))
            case ["say", kind, text]:
                held.say(delta(text, kind=kind, job_id=job_id))
            case ["complete"]:
                await held.save(held.job.model_copy(update={"status": "completed"}))
            case other:
                raise ValueError(other)
        _answer("ok")


def _pour(log: RunLog, count: int) -> None:
    for number, body in enumerate(islice(cycle(bodies(50)), count)):
        log.append(body, step_number=1)
        _answer(str(number))


async def _next_command() -> str | None:
    line = await to_thread.run_sync(sys.stdin.readline)
    return line.rstrip("\n") or None


def _answer(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(_serve, Path(sys.argv[1]))

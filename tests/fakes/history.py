"""Files that fail or end the program at any operation, and small jobs to write with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from perstack.domain.events import (
    Body,
    CallTools,
    CompleteRun,
    Delta,
    Event,
    StartGeneration,
    StartRun,
    ToolResult,
    ToolReturned,
    ToolRoute,
)
from perstack.domain.expert import ExpertRef
from perstack.domain.ids import CheckpointId, ExpertKey, JobId, MessageId, RunId, ToolCallId
from perstack.domain.jobs import Job, RunSetting
from perstack.domain.messages import ExpertMessage, TextPart, ToolCallPart, UserMessage
from perstack.domain.settings import Settings
from perstack.domain.usage import Usage
from perstack.ports.history import RunLog
from perstack.ports.system import RandomIds, SystemClock
from perstack.storage.files import Files
from perstack.storage.history.store import FileHistory

EXPERT = ExpertKey("writer")


class Killed(BaseException):
    """The program ended here."""


class SetClock:
    """A clock that shows what it was set to."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self.at = now_ms

    def now_ms(self) -> int:
        return self.at


class FaultyFiles(Files):
    """Real files; operation number `at` (from 1) fails with `error`, or is where the program ends.

    `sticky`: all later operations fail, too. `torn`: a write that fails or is ended is half done.
    Files are always closed, as they are when a program ends. Syncing is noted, not done: no test
    cuts the power.
    """

    def __init__(
        self, *, at: int = 0, error: int | None = None, sticky: bool = False, torn: bool = False
    ) -> None:
        self.log: list[tuple[str, Path]] = []
        self.flags: dict[Path, int] = {}
        self.synced_bytes: dict[Path, int] = {}
        self.struck = False
        self._at = at
        self._error = error
        self._sticky = sticky
        self._torn = torn
        self._count = 0
        self._below: Path | None = None
        self._paths: dict[int, Path] = {}

    def fail_next(self, error: int, *, torn: bool = False, below: Path | None = None) -> None:
        """Let the next operation fail; given `below`, all operations there."""
        self._error, self._torn = error, torn
        self._at = 0 if below else self._count + 1
        self._below = below

    def open(self, path: Path, flags: int) -> int:
        self._step("create" if flags & os.O_CREAT and not path.exists() else "open", path)
        fd = super().open(path, flags)
        self._paths[fd] = path
        self.flags[path] = flags
        return fd

    def close(self, fd: int) -> None:
        path = self._paths.pop(fd)
        super().close(fd)
        if not self.struck:
            self._step("close", path)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        half = memoryview(data)[: len(data) // 2]
        self._step("write", self._paths[fd], lambda: super(FaultyFiles, self).write(fd, half))
        return super().write(fd, data)

    def sync(self, fd: int) -> None:
        path = self._paths[fd]
        self._step("sync", path)
        self.synced_bytes[path] = path.stat().st_size

    def sync_folder(self, path: Path) -> None:
        self._step("sync folder", path)

    def truncate(self, fd: int, length: int) -> None:
        self._step("truncate", self._paths[fd])
        super().truncate(fd, length)

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename", target)
        super().rename(source, target)

    def make_folder(self, path: Path) -> None:
        self._step("make folder", path)
        super().make_folder(path)

    def touch(self, fd: int) -> None:
        self._step("touch", self._paths[fd])
        super().touch(fd)

    def remove(self, path: Path) -> None:
        self._step("remove", path)
        super().remove(path)

    def read(self, path: Path, *, start: int = 0) -> bytes:
        self._step("read", path)
        return super().read(path, start=start)

    def read_piece(self, path: Path, *, start: int, size: int) -> bytes:
        self._step("read", path)
        return super().read_piece(path, start=start, size=size)

    def _step(self, name: str, path: Path, half: Callable[[], object] | None = None) -> None:
        self._count += 1
        due = self._count == self._at or self._below in path.parents
        if due and self._torn and half is not None:
            half()
        after = self.struck and (self._sticky or self._error is None)
        self.struck = self.struck or due
        if (due or after) and self._error is not None:
            raise OSError(self._error, os.strerror(self._error))
        if due or after:
            raise Killed
        self.log.append((name, path))


class ShortFiles(Files):
    """Files of which each write takes a few bytes only."""

    def write(self, fd: int, data: bytes | memoryview) -> int:
        return super().write(fd, memoryview(data)[:7])


def history(workspace: Path, files: Files | None = None) -> FileHistory:
    return FileHistory(workspace, clock=SystemClock(), ids=RandomIds(), files=files)


def job(job_id: str = "job1", *, started_at: int = 1) -> Job:
    return Job(
        id=JobId(job_id),
        status="running",
        coordinator_expert_key=EXPERT,
        coordinator_run_id=RunId("run1"),
        max_steps=100,
        started_at=started_at,
    )


def setting(run_id: str = "run1", *, job_id: str = "job1", started_at: int = 1) -> RunSetting:
    return RunSetting(
        job_id=JobId(job_id),
        run_id=RunId(run_id),
        expert_key=EXPERT,
        settings=Settings(),
        query="write",
        started_at=started_at,
    )


def delta(text: str, *, kind: str = "delta", job_id: str = "job1") -> Delta:
    return Delta.model_validate(
        {
            "jobId": job_id,
            "runId": "run1",
            "expertKey": EXPERT,
            "stepNumber": 1,
            "stream": "text",
            "kind": kind,
            "text": text,
        }
    )


def bodies(count: int) -> list[Body]:
    """Return the bodies of a plausible run of `count` events."""
    found: list[Body] = [_start()]
    while len(found) < count - 1:
        number = len(found)
        found.extend((StartGeneration(), _call(number), _returned(number)))
    return [*found[: count - 1], _complete()]


def append_to(log: RunLog, count: int) -> list[Event]:
    """Append `count` events."""
    return [log.append(body, step_number=1) for body in bodies(count)]


def _start() -> StartRun:
    said = UserMessage(id=MessageId("m0"), contents=(TextPart(text="Write about the sea."),))
    return StartRun(
        checkpoint_id=CheckpointId("c0"),
        status="init",
        expert=ExpertRef(key=EXPERT, name="writer", version="1.0.0"),
        input_messages=(said,),
    )


def _call(number: int) -> CallTools:
    call = ToolCallPart(
        tool_call_id=ToolCallId(f"t{number}"),
        tool_name="readTextFile",
        args={"path": f"notes/{number}.md", "to": None, "lines": [1, 2.5]},
    )
    return CallTools(
        new_message=ExpertMessage(
            id=MessageId(f"m{number}"), contents=(TextPart(text="Reading…"), call)
        ),
        routes=(
            ToolRoute(tool_call_id=call.tool_call_id, skill_name="@perstack/base", kind="mcp"),
        ),
        usage=Usage(input_tokens=1000 + number, output_tokens=20),
    )


def _returned(number: int) -> ToolReturned:
    return ToolReturned(
        result=ToolResult(
            id=ToolCallId(f"t{number}"),
            skill_name="@perstack/base",
            tool_name="readTextFile",
            result=(TextPart(text=f"The sea is wide. {number}\n" * 5),),
        )
    )


def _complete() -> CompleteRun:
    said = ExpertMessage(id=MessageId("last"), contents=(TextPart(text="The sea is wide."),))
    return CompleteRun(checkpoint_id=CheckpointId("c9"), new_message=said, usage=Usage())

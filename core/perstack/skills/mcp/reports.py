"""What a skill's server says beside its answers: log messages, and how far calls have come."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio

from perstack.domain.ids import ToolCallId
from perstack.domain.server_events import SkillLog, SkillProgress
from perstack.skills.mcp.launch import Launch
from perstack.skills.text import printable

MAX_LOGS: Final = 200
MAX_LOG_CHARS: Final = 2_000
MAX_PROGRESS_CHARS: Final = 200
PROGRESS_EVERY_S: Final = 1.0


class TakeProgress(Protocol):
    """What the SDK calls with a call's progress."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """Take it."""
        ...


@dataclass(slots=True)
class Reports:
    """One for each life of a server; whatever comes, little of it is told.

    At most `MAX_LOGS` log messages over all lives in a run, and each call's progress at most once
    a second, the last one always.
    """

    launch: Launch
    _open: set[ToolCallId] = field(default_factory=set[ToolCallId])
    _untold: dict[ToolCallId, SkillProgress] = field(
        default_factory=dict[ToolCallId, SkillProgress]
    )
    _moved: anyio.Event = field(default_factory=anyio.Event)

    def log(self, level: str, text: str) -> None:
        """Tell of a log message, unless there were too many."""
        number = self.launch.logged.add()
        if number <= MAX_LOGS:
            self._tell_log(level, self._shown(text, MAX_LOG_CHARS))
        elif number == MAX_LOGS + 1:
            self._tell_log("notice", f"it logs more than {MAX_LOGS} messages; the rest is dropped")

    @contextmanager
    def of_call(self, tool_call_id: ToolCallId | None) -> Generator[TakeProgress | None]:
        """Give what takes a call's progress while it is made; the last one is told at the end."""
        if tool_call_id is None:
            yield None
            return

        async def take(progress: float, total: float | None, message: str | None) -> None:
            self._take(tool_call_id, progress, total, message)

        self._open.add(tool_call_id)
        try:
            yield take
        finally:
            self._open.discard(tool_call_id)
            if (last := self._untold.pop(tool_call_id, None)) is not None:
                self.launch.notice(last)

    def _take(
        self, tool_call_id: ToolCallId, progress: float, total: float | None, message: str | None
    ) -> None:
        """Remember how far a call has come; what is late is nobody's."""
        if tool_call_id not in self._open:
            return
        self._untold[tool_call_id] = SkillProgress(
            skill_name=self.launch.skill_name,
            tool_call_id=tool_call_id,
            progress=progress,
            total=total,
            message=self._shown(message, MAX_PROGRESS_CHARS) if message else None,
        )
        self._moved.set()

    async def follow(self) -> None:
        """Tell of progress as it comes, at most once in `PROGRESS_EVERY_S` seconds; never ends."""
        while True:
            await self._moved.wait()
            self._moved = anyio.Event()
            for tool_call_id in list(self._untold):
                self.launch.notice(self._untold.pop(tool_call_id))
            await anyio.sleep(PROGRESS_EVERY_S)

    def _tell_log(self, level: str, message: str) -> None:
        name = self.launch.skill_name
        self.launch.notice(SkillLog(skill_name=name, level=level, message=message))

    def _shown(self, text: str, limit: int) -> str:
        # Secrets go first: a cut one would no longer be known as such.
        begun = self.launch.clean(text)[: limit * 4]
        return printable(" ".join(begun.split()))[:limit]

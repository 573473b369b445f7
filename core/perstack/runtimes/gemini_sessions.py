"""What the Gemini CLI keeps of its sessions, on the disk of its user: where, and what they used."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, cast

import anyio.to_thread

from perstack.domain.messages import ToolCallPart
from perstack.domain.usage import NO_USAGE, Usage
from perstack.ports.programs import Began, Hearing, Report, Turn
from perstack.runtimes.gemini_records import GeminiReader, used
from perstack.runtimes.records import child, count_at, text_at
from perstack.runtimes.running import Record

OWN_FOLDER: Final = ".gemini"
# The variable that says whose home holds its folder, if it is not the user's.
HOME: Final = "GEMINI_CLI_HOME"
_SESSION_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{7,127}")
_NAMED_BY: Final = 8
_HEAD_BYTES: Final = 64 * 1024
_MOST_BYTES: Final = 32 * 1024 * 1024


def own_folder(env: Mapping[str, str]) -> Path | None:
    """Return the program's folder of settings and sessions, None where there is no home."""
    home = env.get(HOME) or env.get("HOME")
    return Path(home) / OWN_FOLDER if home else None


def session_file(folder: Path, session: str) -> Path | None:
    """Return where a session is kept, in folders named after workspaces; reads the disk."""
    if not _SESSION_ID.fullmatch(session):
        return None
    files = sorted(folder.glob(f"tmp/*/chats/session-*-{session[:_NAMED_BY]}.json*"))
    return next((path for path in files if _session_of(path) == session), None)


def _session_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            record = _record(file.readline(_HEAD_BYTES))
    except OSError:
        return None
    return text_at(record, "sessionId") if record else None


def _record(line: bytes) -> Record | None:
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast("Record", found) if isinstance(found, dict) else None


@dataclass(frozen=True, slots=True)
class Used:
    """What one answer used, and the model that gave it ("" if that is not told)."""

    usage: Usage = NO_USAGE
    model: str = ""


class Ledger:
    """What each answer of a talk used, as the program's record of its session tells.

    Its stream tells the sum alone, once it has finished. What cannot be read is not counted here.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._session = self._since = ""
        self._path: Path | None = None
        self._offset = 0
        self._seen: set[str] = set()
        self._unread: deque[Used] = deque()

    def begin(self, session: str, since: str) -> None:
        """Follow a session; answers before `since` (ISO 8601, UTC, as it writes) are not ours."""
        if session != self._session:
            self._session, self._since = session, since
            self._path, self._offset = None, 0

    def next(self, *, is_last: bool) -> Used:
        """Return what the next answer used, with `is_last` all that are left; reads the disk."""
        self._unread.extend(self._news())
        found = Used()
        while self._unread and (is_last or found.usage == NO_USAGE):
            one = self._unread.popleft()
            found = Used(found.usage.plus(one.usage), one.model or found.model)
        return found

    def _news(self) -> Iterable[Used]:
        for record in self._records():
            id_ = text_at(record, "id")
            if record.get("type") != "gemini" or not id_ or id_ in self._seen:
                continue
            usage = _tokens(child(record, "tokens"))
            # It is written again, with its tools' results, under the same id.
            if usage != NO_USAGE and text_at(record, "timestamp") >= self._since:
                self._seen.add(id_)
                yield Used(usage, text_at(record, "model"))

    def _records(self) -> Iterable[Record]:
        """Return the records that were written since the last look; half of one waits."""
        if self._path is None and self._folder is not None and self._session:
            self._path = session_file(self._folder, self._session)
        if self._path is None:
            return ()
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                read = file.read(_MOST_BYTES)
        except OSError:
            return ()
        # One that is longer than all that is read at once is passed over.
        whole = read if len(read) == _MOST_BYTES else read[: read.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [record for line in whole.splitlines() if (record := _record(line)) is not None]


def _tokens(tokens: Record) -> Usage:
    return used(
        {
            "input_tokens": count_at(tokens, "input"),
            "output_tokens": count_at(tokens, "output"),
            "total_tokens": count_at(tokens, "total"),
            "cached": count_at(tokens, "cached"),
        }
    )


class Counting:
    """Implements `ports.programs.Hearing`: another one, whose turns tell what they used.

    `reader` is what reads the records that are heard.
    """

    def __init__(self, heard: Hearing, ledger: Ledger, reader: GeminiReader) -> None:
        self._heard = heard
        self._ledger = ledger
        self._reader = reader
        self._began = Began("")
        # What was heard, until it is told: a wait that is cut off loses nothing.
        self._taken: Report | None = None
        self._ready: deque[Report] = deque()

    async def next(self) -> Report:
        """Return the next report.

        Raises:
            ProgramError: as the port says.
        """
        if self._ready:
            return self._ready.popleft()
        if self._taken is None:
            self._taken = await self._heard.next()
        report = self._taken
        if isinstance(report, Turn):
            report = await self._counted(report)
        elif isinstance(report, Began):
            self._began = report
            self._ledger.begin(report.session_id, self._reader.since)
        self._taken = None
        self._ready.append(report)
        return self._ready.popleft()

    async def _counted(self, turn: Turn) -> Turn:
        calls = any(isinstance(part, ToolCallPart) for part in turn.parts)
        used = await anyio.to_thread.run_sync(partial(self._ledger.next, is_last=not calls))
        if used.model and used.model != self._began.model:
            # Where it chose by itself, only now it is known whose price counts.
            self._began = replace(self._began, model=used.model)
            self._ready.append(self._began)
        return replace(turn, usage=turn.usage.plus(used.usage))

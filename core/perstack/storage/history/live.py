"""The live file: who drives a job, and what followers have to look at. Scratch, not history.

The first line says who; its `part` changes whenever the file begins anew. Then come, a line each,
`{"r":run,"n":seq}` (the run's log reaches to this record), `{"j":1}` (the job was saved) and
`{"d":{...}}` (a piece of streaming text). The file's time of last change is the heartbeat.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from pydantic import ValidationError

from perstack.domain.base import Model
from perstack.domain.events import Delta
from perstack.domain.ids import RunId
from perstack.ports.system import Clock, Ids
from perstack.storage.files import Files, explained, write_all
from perstack.storage.history.codec import whole_text

BEAT_S: Final = 2.0
FLUSH_S: Final = 0.015
MAX_BYTES: Final = 1024 * 1024

_log = logging.getLogger(__name__)


class Header(Model):
    """Who drives a job. `started_at` is Unix milliseconds."""

    part: str
    pid: int
    host: str
    started_at: int


class Line(Model):
    """One line after the header."""

    r: RunId | None = None
    n: int | None = None
    j: int | None = None
    d: Delta | None = None


def host_name() -> str:
    """Return this machine's name as headers have it."""
    return socket.gethostname()


def read_header(data: bytes) -> Header | None:
    """Return the header of a live file's content, None while it is not there or not whole."""
    line, newline, _ = data.partition(b"\n")
    try:
        return Header.model_validate_json(line) if newline else None
    except ValidationError:
        return None


def read_lines(data: bytes) -> Iterator[Line]:
    """Yield the lines of a piece of a live file; what is no such line is left out."""
    for line in data.split(b"\n"):
        try:
            if line:
                yield Line.model_validate_json(line)
        except ValidationError:
            _log.debug("a line of a live file was left out")


class LiveFile:
    """The writing end. Losing what it holds is harmless, so once open it only logs failures.

    Any thread may add to it; everything but `open` returns without waiting for the disk.
    """

    def __init__(self, files: Files, path: Path, *, clock: Clock, ids: Ids) -> None:
        self._files = files
        self._path = path
        self._clock = clock
        self._ids = ids
        self._guard = threading.Lock()
        self._fd = -1
        self._bytes = 0
        self._flushed_at = 0.0
        self._heads: dict[RunId, int] = {}
        self._saved = False
        self._deltas: list[Delta] = []
        self._wanted: anyio.Event | None = None
        self._loop_thread = 0

    def open(self) -> None:
        """Begin the file with a header.

        Raises:
            StorageError: it cannot be written.
        """
        with explained("write", self._path):
            self._fd = self._files.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            self._begin()

    def close(self) -> None:
        """Remove the file; idempotent."""
        with self._guard:
            if self._fd < 0:
                return
            fd, self._fd = self._fd, -1
            try:
                self._files.close(fd)
                self._files.remove(self._path)
            except OSError as error:
                self._complain(error)

    def add_event(self, run_id: RunId, seq: int) -> None:
        """Tell that the run's log reaches to `seq`."""
        with self._guard:
            self._heads[run_id] = seq
        self._soon()

    def add_save(self) -> None:
        """Tell that the job's record was replaced."""
        with self._guard:
            self._saved = True
        self._soon()

    def add_delta(self, delta: Delta) -> None:
        """Pass on a piece of streaming text."""
        with self._guard:
            self._deltas.append(delta)
        self._soon()

    def flush(self) -> None:
        """Write what was added; what could not be written but deltas is kept for the next time."""
        with self._guard:
            if self._fd < 0 or not (self._heads or self._saved or self._deltas):
                return
            self._flushed_at = time.monotonic()
            data = self._pending()
            self._deltas.clear()
            try:
                if self._bytes + len(data) > MAX_BYTES:
                    self._begin()
                write_all(self._files, self._fd, data)
            except OSError as error:
                self._complain(error)
                self._bytes = MAX_BYTES  # the file may end within a line: begin it anew
                return
            self._bytes += len(data)
            self._heads.clear()
            self._saved = False

    @asynccontextmanager
    async def beating(self) -> AsyncGenerator[None]:
        """Beat, and write what is added, while the body runs."""
        self._loop_thread = threading.get_ident()
        self._wanted = anyio.Event()
        group = anyio.create_task_group()
        await group.__aenter__()
        group.start_soon(self._beat, name=f"heartbeat:{self._path.stem}")
        group.start_soon(self._flush_when_wanted, name=f"live:{self._path.stem}")
        try:
            yield
        finally:
            self._wanted = None
            group.cancel_scope.cancel()
            # Not told of the body's exception, which it would wrap in an ExceptionGroup.
            await group.__aexit__(None, None, None)

    async def _beat(self) -> None:
        while True:
            await anyio.sleep(BEAT_S)
            self.flush()
            self._touch()

    async def _flush_when_wanted(self) -> None:
        while self._wanted is not None:
            await self._wanted.wait()
            self._wanted = anyio.Event()
            await anyio.sleep(FLUSH_S)
            self.flush()

    def _soon(self) -> None:
        """Write now if the file was idle, else let the writer's task collect some more first."""
        wanted = self._wanted
        here = threading.get_ident() == self._loop_thread
        if wanted is None or not here or time.monotonic() - self._flushed_at > FLUSH_S:
            self.flush()
        else:
            wanted.set()

    def _touch(self) -> None:
        with self._guard:
            if self._fd < 0:
                return
            try:
                self._files.touch(self._fd)
            except OSError as error:
                self._complain(error)

    def _begin(self) -> None:
        header = Header(
            part=self._ids.new(),
            pid=os.getpid(),
            host=host_name(),
            started_at=self._clock.now_ms(),
        )
        data = header.model_dump_json().encode() + b"\n"
        self._files.truncate(self._fd, 0)
        write_all(self._files, self._fd, data)
        self._bytes = len(data)

    def _pending(self) -> bytes:
        lines = [b'{"r":"%b","n":%d}' % (run.encode(), seq) for run, seq in self._heads.items()]
        if self._saved:
            lines.append(b'{"j":1}')
        lines.extend(b'{"d":%b}' % _delta_json(delta) for delta in self._deltas)
        return b"\n".join(lines) + b"\n"

    def _complain(self, error: OSError) -> None:
        _log.warning("%s: %s; followers may lag behind", self._path, error.strerror)


def _delta_json(delta: Delta) -> bytes:
    whole = delta.model_copy(update={"text": whole_text(delta.text)})
    return whole.model_dump_json().encode()

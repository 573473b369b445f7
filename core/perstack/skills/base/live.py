"""What a command prints, shown while it runs: a few times a second, and only so much in all."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Final

import anyio

INTERVAL_S: Final = 0.1
MAX_LIVE_CHARS: Final = 1_000_000
MAX_UNBROKEN_CHARS: Final = 4_096
_BREAKS: Final = " \t\"',;()[]{}<>"
REST_IS_SILENT: Final = "\n… what follows is not shown live …\n"


class LiveOutput:
    """Shows text through `show`, at most once in `INTERVAL_S` while `keep_showing` runs.

    After `MAX_LIVE_CHARS` characters it says so and falls silent.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._pending: list[str] = []
        self._taken = 0
        self._more = anyio.Event()

    @property
    def is_full(self) -> bool:
        """Whether nothing more will be shown."""
        return self._taken > MAX_LIVE_CHARS

    def take(self, text: str) -> None:
        """Take what is to be shown next."""
        if self.is_full or not text:
            return
        self._taken += len(text)
        self._pending.append(REST_IS_SILENT if self.is_full else text)
        self._more.set()

    async def keep_showing(self) -> None:
        """Show what comes, until cancelled."""
        while True:
            await self._more.wait()
            self.flush()
            await anyio.sleep(INTERVAL_S)

    def flush(self) -> None:
        """Show what is there now."""
        self._more = anyio.Event()
        text = "".join(self._pending)
        self._pending.clear()
        if text:
            self._show(text)


class LiveLines:
    """One stream on its way to a `LiveOutput`: bytes come in, whole lines go out.

    Lines are kept whole since whoever shows them takes secrets out, and half a secret is none that
    could be recognised. A line without an end goes out in parts, broken if it can be where no
    secret would be: after a blank, a quote, a comma, a bracket.
    """

    def __init__(self, live: LiveOutput) -> None:
        self._live = live
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        if self._live.is_full:
            return
        text = self._rest + self._decoder.decode(piece)
        end = max(text.rfind("\n"), text.rfind("\r")) + 1
        if len(text) - end > MAX_UNBROKEN_CHARS:
            end = max(end, *(text.rfind(mark) + 1 for mark in _BREAKS)) or len(text)
        self._live.take(text[:end])
        self._rest = text[end:]

    def finish(self) -> None:
        """Let go of a last line that has no end."""
        self._live.take(self._rest + self._decoder.decode(b"", final=True))
        self._rest = ""

"""What a tool server writes to its standard error, line by line and within bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import anyio
import anyio.abc

from perstack.skills.text import printable

MAX_LINE_CHARS: Final = 2_000
MAX_LINES_A_MINUTE: Final = 200
_TAIL_LINES: Final = 8
_TAIL_CHARS: Final = 300
_MINUTE_S: Final = 60.0
# A character takes at most four bytes; what is longer than this is cut anyway.
_MAX_LINE_BYTES: Final = MAX_LINE_CHARS * 4


class StderrLog:
    """Tells of each line, at most so many a minute; keeps the last ones for error messages."""

    def __init__(self, tell: Callable[[str], None], clean: Callable[[str], str]) -> None:
        self._tell = tell
        self._clean = clean
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._minute_began = -_MINUTE_S
        self._told = 0
        self._untold = 0

    @property
    def tail(self) -> str:
        """The last lines, fit for an error message; "" for none."""
        return "\n".join(printable(line[:_TAIL_CHARS]) for line in self._tail)

    async def follow(self, stream: anyio.abc.ByteReceiveStream) -> None:
        """Read to the end; never holds up the server, whatever it writes."""
        line = bytearray()
        try:
            async for piece in stream:
                first, *others = piece.split(b"\n")
                line += first
                for other in others:
                    self._line(bytes(line))
                    line = bytearray(other)
                del line[_MAX_LINE_BYTES:]
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            self._line(bytes(line))
            self._tell_of_the_untold()

    def _line(self, raw: bytes) -> None:
        text = self._clean(raw[:_MAX_LINE_BYTES].decode(errors="replace").rstrip("\r"))
        if not text.strip():
            return
        self._tail.append(text)
        if self._has_room():
            self._tell(text[:MAX_LINE_CHARS])
        else:
            self._untold += 1

    def _has_room(self) -> bool:
        now = anyio.current_time()
        if now - self._minute_began >= _MINUTE_S:
            self._tell_of_the_untold()
            self._minute_began, self._told = now, 0
        self._told += 1
        return self._told <= MAX_LINES_A_MINUTE

    def _tell_of_the_untold(self) -> None:
        if self._untold:
            self._tell(f"… {self._untold:,} more lines were not kept …")
        self._untold = 0

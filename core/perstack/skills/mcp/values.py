"""Counts the values in JSON before anybody reads it: a parser holds up everything else."""

from __future__ import annotations

import re
from typing import Final

MAX_VALUES: Final = 250_000
# How messages end where several come in one stream: each on a line, or before an empty line.
LINE: Final = rb"\n"
EVENT: Final = rb"\r?\n\r?\n"

# Within a string nothing counts. It ends with its line at the latest, as JSON has it; one that a
# piece leaves open goes on in the next piece.
_STRING: Final = rb'[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+(?:(?P<closed>")|(?P<broken>\\?(?=\n))|\\?\Z)'
_REST: Final = re.compile(_STRING)


class TooManyValuesError(ValueError):
    """A message holds more values than any of use."""

    def __init__(self) -> None:
        super().__init__(f"it sent a message of more than {MAX_VALUES:,} values")


class ValueCounter:
    """Follows JSON in whatever pieces it comes.

    `end` is the pattern after which the next message counts by itself; None for a single one.
    """

    def __init__(self, end: bytes | None = None) -> None:
        ends = b"" if end is None else b"|(?P<end>" + end + b")"
        self._tokens = re.compile(rb'[,\[{]|"' + _STRING + ends)
        self._has_end = end is not None
        self._count = 0
        self._is_open = False
        self._is_escaped = False

    def add(self, piece: bytes) -> int:
        """Count the values of one more piece; return how many the last message has so far.

        Raises:
            TooManyValuesError: a message has more than `MAX_VALUES`.
        """
        for token in self._tokens.finditer(piece, self._end_of_string(piece)):
            if self._has_end and token["end"] is not None:
                self._count = 0
                continue
            self._count += 1
            if self._count > MAX_VALUES:
                raise TooManyValuesError
            if token[0].startswith(b'"'):
                self._note_end(token)
        return self._count

    def _end_of_string(self, piece: bytes) -> int:
        """Return where the string that is open ends, 0 if none is."""
        if not self._is_open or not piece:
            return 0
        skipped = 1 if self._is_escaped and not piece.startswith(b"\n") else 0
        rest = _REST.match(piece, skipped)
        if rest is None:
            return skipped
        self._note_end(rest)
        return rest.end()

    def _note_end(self, found: re.Match[bytes]) -> None:
        self._is_open = found["closed"] is None and found["broken"] is None
        text = found[0]
        self._is_escaped = self._is_open and (len(text) - len(text.rstrip(b"\\"))) % 2 == 1

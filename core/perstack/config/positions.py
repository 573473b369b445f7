"""Which line of a TOML text a key stands on; `tomllib` does not say.

The text is known to be valid TOML, so this only tells keys from values. For anything it cannot
follow it stays silent: a missing line number is a lesser evil than a wrong one.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final

KeyPath = tuple[str, ...]

_PART: Final = r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'"""
_KEY: Final = re.compile(rf"(?:{_PART})(?:[ \t]*\.[ \t]*(?:{_PART}))*")
_KEY_PART: Final = re.compile(_PART)
_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_HEADER: Final = re.compile(r"\[\[?[ \t]*")
_VALUE_TOKEN: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|[\[\]{},]"
    r"|\#[^\n]*"
    r"|\n"
    r"|[^\[\]{},\"'\#\n]+",
    re.DOTALL,
)


def locate_keys(text: str) -> dict[KeyPath, int]:
    """Return the line, counted from 1, on which each key path first appears.

    Prefixes count too: `[a.b]` places `("a",)` and `("a", "b")`. Elements of arrays of tables
    share their table's path.
    """
    return _Locator(text).run()


class _Locator:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._found: dict[KeyPath, int] = {}

    def run(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip(_BLANK) < len(self._text):
            header = _HEADER.match(self._text, self._at)
            if header:
                self._at = header.end()
                table = self._key(()) or table
                self._skip_line()
            else:
                self._assignment(table)
        return self._found

    def _assignment(self, table: KeyPath) -> None:
        path = self._key(table)
        if path is None or not self._take("="):
            self._skip_line()
        else:
            self._value(path)

    def _value(self, path: KeyPath) -> None:
        """Pass over a value that may hold arrays and inline tables; note the tables' keys."""
        enclosing: list[tuple[KeyPath, str]] = []
        while match := _VALUE_TOKEN.match(self._text, self._at):
            mark = match.group()
            if mark == "\n" and not enclosing:
                return
            self._at = match.end()
            if mark in ("[", "{"):
                enclosing.append((path, mark))
                path = self._inline_key(path) if mark == "{" else path
            elif mark in ("]", "}") and enclosing:
                path, _ = enclosing.pop()
            elif mark == "," and enclosing and enclosing[-1][1] == "{":
                path = self._inline_key(enclosing[-1][0])

    def _inline_key(self, table: KeyPath) -> KeyPath:
        self._skip(_BLANK)
        path = self._key(table)
        return path if path is not None and self._take("=") else table

    def _key(self, table: KeyPath) -> KeyPath | None:
        match = _KEY.match(self._text, self._at)
        if match is None:
            return None
        line = bisect_right(self._breaks, self._at) + 1
        self._at = match.end()
        path = table
        for part in _KEY_PART.findall(match.group()):
            path = (*path, _plain(part))
            self._found.setdefault(path, line)
        return path

    def _take(self, mark: str) -> bool:
        self._skip(_SPACE)
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at

    def _skip_line(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end + 1


def _plain(part: str) -> str:
    if part[0] == '"':
        return tomllib.loads(f"key = {part}")["key"] if "\\" in part else part[1:-1]
    return part[1:-1] if part[0] == "'" else part

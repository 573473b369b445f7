"""A small parser of .env files: `NAME=value` lines, quotes, comments, no interpolation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from perstack.config.report import printable
from perstack.errors import ConfigError

FILE_BYTES: Final = 256 * 1024

_NAME: Final = re.compile(
    r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*", re.ASCII
)
_QUOTED: Final = re.compile(r"'([^']*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_REST: Final = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|$)")
_COMMENT: Final = re.compile(r"(?:^|(?<=[ \t]))#")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}


def read_env_file(path: Path) -> dict[str, str]:
    """Return the file's variables, an empty dict when there is no such file.

    Raises:
        ConfigError: it cannot be read or a line is not `NAME=value`; values are never quoted.
    """
    try:
        if not path.exists():
            return {}
        if not path.is_file():
            raise ConfigError(f"{_name(path)} is not a file", hint="remove it from envPath")
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError(
            f"{_name(path)} cannot be read: {reason}", hint="check its owner and permissions"
        ) from error
    if len(data) > FILE_BYTES:
        raise ConfigError(
            f"{_name(path)} is larger than {FILE_BYTES:,} bytes", hint="is it the right file?"
        )
    return parse_env(path, data)


def parse_env(path: Path, data: bytes) -> dict[str, str]:
    """Return the variables of an env file's bytes; a later line wins over an earlier one.

    Raises:
        ConfigError: names file and line.
    """
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _fault(path, line, "is not UTF-8 text") from error
    reader = _EnvReader(path, text)
    return dict(reader.assignments())


class _EnvReader:
    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._at = 0

    def assignments(self) -> Iterator[tuple[str, str]]:
        while self._at < len(self._text):
            if blank := _REST.match(self._text, self._at):
                self._at = max(blank.end(), self._at + 1)
            else:
                yield self._assignment()

    def _assignment(self) -> tuple[str, str]:
        start = self._at
        match = _NAME.match(self._text, start)
        if match is None:
            raise self._error(start, "is not NAME=value")
        self._at = match.end()
        quoted = self._text.startswith(("'", '"'), self._at)
        value = self._quoted() if quoted else self._unquoted()
        if "\0" in value:
            raise self._error(start, "holds a NUL character")
        return match.group(1), value

    def _unquoted(self) -> str:
        start = self._at
        end = self._text.find("\n", start)
        end = len(self._text) if end < 0 else end
        self._at = end + 1
        raw = self._text[start:end]
        comment = _COMMENT.search(raw)
        return (raw[: comment.start()] if comment else raw).rstrip()

    def _quoted(self) -> str:
        start = self._at
        quoted = _QUOTED.match(self._text, start)
        if quoted is None:
            raise self._error(start, "has a quote that is not closed")
        rest = _REST.match(self._text, quoted.end())
        if rest is None:
            raise self._error(quoted.end(), "has text after the closing quote")
        self._at = rest.end()
        if quoted.group(1) is not None:
            return quoted.group(1)
        return _ESCAPE.sub(_unescape, quoted.group(2))

    def _error(self, at: int, what: str) -> ConfigError:
        return _fault(self._path, self._text.count("\n", 0, at) + 1, what)


def _unescape(match: re.Match[str]) -> str:
    mark = match.group(1)
    return _ESCAPES.get(mark, mark if mark in "\"\\'$`" else match.group())


def _fault(path: Path, line: int, what: str) -> ConfigError:
    return ConfigError(
        f"{_name(path)}: line {line} {what}",
        hint=f"write line {line} as NAME=value; quote values that hold spaces or #",
    )


def _name(path: Path) -> str:
    return printable(str(path))

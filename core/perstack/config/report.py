"""What is wrong or doubtful in a configuration file, collected and put into words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from perstack.config.positions import KeyPath, locate_keys
from perstack.errors import ConfigError

_LISTED: Final = 20
_SHOWN: Final = 48
_SHOWN_KEY: Final = 80
_BARE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


@dataclass(frozen=True, slots=True)
class ConfigWarning:
    """Something that does no harm but is probably not what was meant. `line` counts from 1."""

    line: int | None
    key: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        place = f"{self.key} (line {self.line})" if self.line else self.key
        return f"{place}: {self.message}" if place else self.message

    def with_hint(self) -> str:
        """Return key, line, message and hint on one line."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class RefusedConfigError(ConfigError):
    """The file can be read, and holds something that cannot be used: `problems`, all of them.

    `warnings` are what was doubtful besides: a key that is missing may be there, misspelt.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str,
        problems: tuple[ConfigWarning, ...],
        warnings: tuple[ConfigWarning, ...],
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems
        self.warnings = warnings


class Report:
    """Collects the problems and warnings of one file, so that all are told at once.

    `unknown` counts its keys that mean nothing.
    """

    def __init__(self, name: str, text: str) -> None:
        self.unknown = 0
        self._name = name
        self._text = text
        self._problems: list[ConfigWarning] = []
        self._warnings: list[ConfigWarning] = []

    @property
    def warnings(self) -> tuple[ConfigWarning, ...]:
        """The warnings so far, in order of appearance."""
        return tuple(self._warnings)

    def problem(self, key: KeyPath, message: str, hint: str | None = None) -> None:
        """Note that the file cannot be used because of `key`."""
        self._problems.append(self._entry(key, message, hint))

    def warn(self, key: KeyPath, message: str, hint: str | None = None) -> None:
        """Note something doubtful at `key`."""
        self._warnings.append(self._entry(key, message, hint))

    def raise_problems(self) -> None:
        """Refuse the file if it has problems.

        Raises:
            ConfigError: names the file and, for each problem, key, line and remedy.
        """
        if not self._problems:
            return
        problems = sorted(self._problems, key=lambda problem: problem.line or 0)
        lines = [f"  - {problem.with_hint()}" for problem in problems[:_LISTED]]
        if len(problems) > _LISTED:
            lines.append(f"  - and {len(problems) - _LISTED} more")
        lines += [f"  - {warning.with_hint()}" for warning in self._warnings[:_LISTED]]
        raise RefusedConfigError(
            "\n".join([f"{self._name}: Validation failed:", *lines]),
            hint=self._remedy(problems[0].line),
            problems=tuple(problems),
            warnings=self.warnings,
        )

    def _remedy(self, line: int | None) -> str:
        place = f"line {line} of " if line else ""
        return f"correct {place}{self._name.rpartition('/')[2]} and save it"

    def _entry(self, key: KeyPath, message: str, hint: str | None) -> ConfigWarning:
        return ConfigWarning(self._line_of(key), key_text(key), message, hint)

    def _line_of(self, key: KeyPath) -> int | None:
        """Return the line of `key`, or of the nearest table around it."""
        for length in range(len(key), 0, -1):
            line = self._lines.get(key[:length])
            if line is not None:
                return line
        return None

    @cached_property
    def _lines(self) -> dict[KeyPath, int]:
        return locate_keys(self._text)


def key_text(key: KeyPath) -> str:
    """Return the path as TOML writes it: `experts."@a/b".instruction`."""
    parts = (printable(part, longest=_SHOWN_KEY) for part in key)
    return ".".join(part if part and _BARE.issuperset(part) else f'"{part}"' for part in parts)


def printable(text: str, *, longest: int | None = None) -> str:
    """Return `text` on one line, control and invisible characters escaped, cut at `longest`."""
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: object) -> str:
    """Return a TOML value as a message may quote it: short and harmless to a terminal."""
    match value:
        case str():
            return f'"{printable(value, longest=_SHOWN)}"'
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if value.bit_length() < 128 else "a very long number"
        case float():
            return str(value) if math.isfinite(value) else "a number without end"
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def listed(names: Iterable[str]) -> str:
    """Return the names for a message: `a, b, c`."""
    return ", ".join(printable(name, longest=_SHOWN_KEY) for name in names)


def meant(word: str, known: Sequence[str]) -> str | None:
    """Return the known word that `word` was probably meant to be."""
    from difflib import get_close_matches

    def folded(text: str) -> str:
        return text[:256].replace("_", "").replace("-", "").lower()

    by_folded = {folded(name): name for name in known}
    close = get_close_matches(folded(word), list(by_folded), n=1, cutoff=0.7)
    return by_folded[close[0]] if close else None

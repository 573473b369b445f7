"""Reads one TOML table strictly: every key once, with its type and bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeGuard, TypeVar

from perstack.config.limits import LIST_ITEMS, MEANINGS, NAME_LENGTH, TEXT_LENGTH
from perstack.config.positions import KeyPath
from perstack.config.report import Report, key_text, listed, meant, shown

Word = TypeVar("Word", bound=str)
Value = TypeVar("Value")
RawTable = dict[str, object]

TOP_KEYS: Final = (
    "model",
    "runtime",
    "reasoningBudget",
    "maxSteps",
    "maxRetries",
    "timeout",
    "maxParallel",
    "maxDepth",
    "envPath",
    "perstackApiBaseUrl",
    "perstackBaseSkillCommand",
    "provider",
    "models",
    "budget",
    "exec",
    "consensus",
    "notify",
    "snapshots",
    "agents",
    "memory",
    "driftDetection",
    "resourceExhaustion",
    "smartDispatcher",
    "slack",
    "github",
    "hooks",
    "plugins",
    "mcp",
    "server",
    "runtimes",
    "experts",
)
_IN_A_SERVER: Final = "write it into the table of an MCP skill, such as [experts.NAME.skills.web]"
_MOST_UNKNOWN: Final = 1_000
_SAFEGUARDS: Final = {
    "consensus": "write [consensus] as a table of its own",
    "budget": "write [budget] as a table of its own",
    "exec": "write [exec] as a table of its own",
    "driftDetection": "write [driftDetection] as a table of its own",
    "resourceExhaustion": "write [resourceExhaustion] as a table of its own",
    "requireApproval": "write it into a skill's table, such as "
    '[experts.NAME.skills."@perstack/base"]',
    "sampling": _IN_A_SERVER,
    "elicitation": _IN_A_SERVER,
}


def is_table(value: object) -> TypeGuard[RawTable]:
    """Tell whether a parsed TOML value is a table."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    """Tell whether a parsed TOML value is a list."""
    return isinstance(value, list)


def given(value: Value | None, default: Value) -> Value:
    """Return what was read, or the default where nothing was."""
    return default if value is None else value


def _plain(number: float) -> str:
    return f"{number:,.4f}".rstrip("0").rstrip(".")


def among(value: object, words: Sequence[Word]) -> Word | None:
    """Return `value` if it is one of `words`."""
    return next((word for word in words if word == value), None)


class Table:
    """A table, its place in the file, and the report that its problems go to.

    The reading methods return None (or nothing) for an absent key and for a wrong value; a wrong
    value has been reported then, so that the file as a whole will be refused. `close` warns of
    keys that nobody asked for.
    """

    def __init__(self, raw: RawTable, at: KeyPath, report: Report) -> None:
        self.at = at
        self.report = report
        self._raw = raw
        self._known: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._raw

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys of the table, in file order."""
        return tuple(self._raw)

    def problem(self, key: str, message: str, hint: str | None = None) -> None:
        """Report that `key` makes the file unusable."""
        self.report.problem((*self.at, key), message, hint)

    def warn(self, key: str, message: str, hint: str | None = None) -> None:
        """Report something doubtful at `key`."""
        self.report.warn((*self.at, key), message, hint)

    def raw(self, key: str) -> object:
        """Return the value as parsed, None if absent, and count the key as known."""
        self._known.add(key)
        return self._raw.get(key)

    def text(
        self,
        key: str,
        *,
        shortest: int = 0,
        longest: int = TEXT_LENGTH,
        rule: re.Pattern[str] | None = None,
    ) -> str | None:
        """Read a string of `shortest` to `longest` characters.

        With a `rule` (of `MEANINGS`), it must match that as a whole.
        """
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self.problem(key, f"must be a string, not {shown(value)}")
            return None
        if not shortest <= len(value) <= longest:
            self.problem(
                key, f"must have {shortest:,} to {longest:,} characters; it has {len(value):,}"
            )
            return None
        if rule is not None and not rule.fullmatch(value):
            what, instead = MEANINGS[rule]
            self.problem(key, f"is {shown(value)}, which is not {what}", instead)
            return None
        return value

    def integer(self, key: str, bounds: tuple[int, int]) -> int | None:
        """Read an integer within `bounds`, both included."""
        value = self.raw(key)
        if value is None:
            return None
        low, high = bounds
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.problem(key, f"must be an integer from {low:,} to {high:,}, not {shown(value)}")
            return None
        return value

    def number(self, key: str, bounds: tuple[float, float]) -> float | None:
        """Read an integer or float within `bounds`, both included."""
        value = self.raw(key)
        if value is None:
            return None
        low, high = bounds
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            self.problem(
                key, f"must be a number from {_plain(low)} to {_plain(high)}, not {shown(value)}"
            )
            return None
        return float(value)

    def flag(self, key: str) -> bool | None:
        """Read `true` or `false`."""
        value = self.raw(key)
        if value is None or isinstance(value, bool):
            return value
        self.problem(key, f"must be true or false, not {shown(value)}")
        return None

    def choice(self, key: str, words: Sequence[Word]) -> Word | None:
        """Read one of `words`."""
        value = self.raw(key)
        found = among(value, words)
        if value is not None and found is None:
            self.problem(key, f"must be one of {listed(words)}, not {shown(value)}")
        return found

    def choices(self, key: str, words: Sequence[Word]) -> tuple[Word, ...] | None:
        """Read a list of any of `words`."""
        values = self.texts(key)
        if values is None:
            return None
        for value in values:
            if value not in words:
                self.problem(key, f"may hold {listed(words)}, not {shown(value)}")
        return tuple(word for value in values for word in words if word == value)

    def texts(
        self,
        key: str,
        *,
        most: int = LIST_ITEMS,
        longest: int = NAME_LENGTH,
        empty_items: bool = False,
        rule: re.Pattern[str] | None = None,
    ) -> tuple[str, ...] | None:
        """Read a list of at most `most` strings, each of at most `longest` characters.

        With a `rule` (of `MEANINGS`), each must match it as a whole.
        """
        value = self.raw(key)
        if value is None:
            return None
        if not is_list(value):
            self.problem(key, f'must be a list of strings such as ["a", "b"], not {shown(value)}')
            return None
        if len(value) > most:
            self.problem(key, f"may have at most {most:,} items; it has {len(value):,}")
            return None
        texts = tuple(item for item in value if isinstance(item, str))
        if len(texts) < len(value):
            wrong = next(item for item in value if not isinstance(item, str))
            self.problem(key, f"must hold strings only, not {shown(wrong)}")
            return None
        return (
            texts if self._items_fit(key, texts, 0 if empty_items else 1, longest, rule) else None
        )

    def _items_fit(
        self,
        key: str,
        texts: tuple[str, ...],
        shortest: int,
        longest: int,
        rule: re.Pattern[str] | None,
    ) -> bool:
        for text in texts:
            if not shortest <= len(text) <= longest:
                self.problem(
                    key,
                    f"has an item of {len(text):,} characters: {shown(text)}",
                    f"each has {shortest} to {longest:,}",
                )
                return False
            if rule is not None and not rule.fullmatch(text):
                what, instead = MEANINGS[rule]
                self.problem(key, f"holds {shown(text)}, which is not {what}", instead)
                return False
        return True

    def table(self, key: str) -> Table | None:
        """Read a table."""
        value = self.raw(key)
        if value is None:
            return None
        if not is_table(value):
            self.problem(key, f"must be a table, not {shown(value)}")
            return None
        return Table(value, (*self.at, key), self.report)

    def tables(self) -> Iterator[tuple[str, Table]]:
        """Read every key of this table as a table."""
        for key in self.keys:
            child = self.table(key)
            if child is not None:
                yield key, child

    def list_of_tables(self, key: str, *, most: int = LIST_ITEMS) -> tuple[Table, ...]:
        """Read a list of at most `most` tables."""
        value = self.raw(key)
        if value is None:
            return ()
        if not is_list(value) or len(value) > most or not all(is_table(item) for item in value):
            self.problem(key, f"must be a list of at most {most:,} tables such as [{{ a = 1 }}]")
            return ()
        return tuple(
            Table(item, (*self.at, key, str(number)), self.report)
            for number, item in enumerate(value, start=1)
            if is_table(item)
        )

    def not_yet(self, *keys: str) -> None:
        """Accept keys that this version does not act on, with a warning."""
        for key in keys:
            if self.raw(key) is not None:
                self.warn(key, "is not supported yet and has no effect", "it may stay for later")

    def close(self, *, gates: Sequence[str] = ()) -> None:
        """Warn of unknown keys; refuse those that were meant to be safeguards.

        A safeguard that is misspelt (one of `gates`, too) or stands in a table where nobody reads
        it would be off without a word.
        """
        unknown = [key for key in self.keys if key not in self._known]
        self.report.unknown += len(unknown)
        if unknown and self.report.unknown > _MOST_UNKNOWN:
            # What each may have been meant to be takes a while to find out.
            self.report.problem(
                self.at, f"more than {_MOST_UNKNOWN:,} unknown keys", "remove what is not known"
            )
            return
        for key in unknown:
            if key in _SAFEGUARDS:
                self.problem(key, "has no effect here", _SAFEGUARDS[key])
            elif key in TOP_KEYS:
                self._warn_slid(key)
            elif (gate := meant(key, (*_SAFEGUARDS, *gates))) is not None:
                self.problem(key, "unknown key", f"did you mean {gate}?")
            else:
                self._warn_unknown(key)

    def _warn_slid(self, key: str) -> None:
        self.warn(
            key,
            f"has no effect here: TOML puts keys below [{key_text(self.at)}] into that table",
            f"move {key} above the first [table] of the file",
        )

    def _warn_unknown(self, key: str) -> None:
        if key.lower().replace("_", "").endswith(("apikey", "token", "secret", "password")):
            self.warn(
                key,
                "unknown key; secrets do not belong into this file",
                "put keys into the environment or a .env file, such as ANTHROPIC_API_KEY=...",
            )
            return
        guess = meant(key, sorted(self._known))
        self.warn(
            key,
            f"unknown key; did you mean {guess}?" if guess else "unknown key",
            f"write {guess}" if guess else f"known here: {listed(sorted(self._known))}",
        )

"""What clients of the feed are told, the ids by which they come back, and what they want."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import translate
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import Final

from pydantic import JsonValue

from perstack.domain.moments import iso8601
from perstack.errors import UsageError

DELTA: Final = "run:delta"
RESET: Final = "reset"
OVERFLOW: Final = "overflow"
PAST: Final = "0"

MOST_FRAME_CHARS: Final = 60_000
MAX_PATTERNS: Final = 100
MAX_PATTERN_CHARS: Final = 100
_IDS: Final = ("type", "id", "jobId", "runId", "seq")
_ID: Final = re.compile(r"(\d{1,15})-([0-9a-f]{1,16})-(\d{1,15})")


@dataclass(frozen=True)
class Position:
    """A place in the feed: when (Unix ms), in which server's life, and its number there.

    The epoch `PAST` is that of what was read out of the histories; those ids say no more than when.
    """

    at_ms: int
    epoch: str
    number: int

    def __str__(self) -> str:
        """Return it as the id that clients give back."""
        return f"{self.at_ms}-{self.epoch}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Return what an id says, None when it is none."""
        found = _ID.fullmatch(text.strip())
        return None if found is None else cls(int(found[1]), found[2], int(found[3]))


@dataclass(frozen=True)
class News:
    """Something that happened. What has no `id` cannot be come back to. `at_ms` in Unix ms."""

    id: str | None
    number: int
    type: str
    at_ms: int
    data: Mapping[str, JsonValue]

    @cached_property
    def data_json(self) -> str:
        """The data as JSON in ASCII, made once for all clients."""
        return json.dumps(self.data, ensure_ascii=True, separators=(",", ":"))

    @property
    def timestamp(self) -> str:
        """When, as ISO 8601."""
        return iso8601(self.at_ms)

    @cached_property
    def sse(self) -> bytes:
        """It as a server-sent event."""
        name, at = json.dumps(self.type), json.dumps(self.timestamp)
        known = "" if self.id is None else f'"id":"{self.id}",'
        head = "" if self.id is None else f"id: {self.id}\n"
        whole = f'{{{known}"type":{name},"timestamp":{at},"data":{self.data_json}}}'
        return f"{head}event: {self.type}\ndata: {whole}\n\n".encode("ascii")

    @cached_property
    def frame(self) -> str:
        """It as a WebSocket's frame; data that is too large stays away, but for its ids."""
        payload = self.data_json
        if len(payload) > MOST_FRAME_CHARS:
            ids = {name: self.data[name] for name in _IDS if name in self.data}
            payload = json.dumps({**ids, "omitted": True, "chars": len(payload)})
        return frame(self.type, payload, self.timestamp, self.id)


def frame(name: str, payload_json: str, timestamp: str, key: str | None = None) -> str:
    """Return a WebSocket's frame."""
    known = "" if key is None else f',"id":{json.dumps(key)}'
    at = json.dumps(timestamp)
    return f'{{"type":{json.dumps(name)},"payload":{payload_json},"timestamp":{at}{known}}}'


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client wants to hear: types by pattern (`*` for anything), of one job where it says.

    Nothing that fits one of `without`. Streaming text comes only to who names `run:delta` as such.
    """

    patterns: tuple[str, ...] = ("*",)
    job: str | None = None
    without: tuple[str, ...] = ()

    @classmethod
    def of(cls, types: str | None, job: str | None = None) -> Wanted:
        """Return what a query asks for: patterns divided by commas, none for everything.

        Raises:
            UsageError: there are too many, or one is too long.
        """
        named = tuple(one.strip() for one in (types or "").split(",") if one.strip())
        return cls(checked_patterns(named) or ("*",), job or None)

    @property
    def deltas(self) -> bool:
        """Whether it wants streaming text."""
        return DELTA in self.patterns

    def takes(self, news: News) -> bool:
        """Tell whether a client is to be told this."""
        if news.type in (RESET, OVERFLOW):
            return True
        if self.job is not None and news.data.get("jobId") != self.job:
            return False
        if news.type == DELTA:
            return self.deltas
        return _fits(news.type, self.patterns) and not _fits(news.type, self.without)

    def and_also(self, named: tuple[str, ...]) -> Wanted:
        """Return it with these patterns, too.

        Raises:
            UsageError: as `checked_patterns`.
        """
        patterns = checked_patterns(tuple(dict.fromkeys((*self.patterns, *named))))
        left = tuple(one for one in self.without if one not in named)
        return replace(self, patterns=patterns, without=left)

    def but_not(self, named: tuple[str, ...]) -> Wanted:
        """Return it without these patterns: taken away where they are, else kept out.

        Raises:
            UsageError: as `checked_patterns`.
        """
        patterns = tuple(one for one in self.patterns if one not in named)
        out = tuple(one for one in named if one not in self.patterns)
        without = checked_patterns(tuple(dict.fromkeys((*self.without, *out))))
        return replace(self, patterns=patterns, without=without)


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return bool(patterns) and compiled(patterns).match(name) is not None


# `fnmatch` keeps 256 patterns: a few clients with others each would have it begin anew every time.
@lru_cache(maxsize=2_048)
def compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Return what fits any of the patterns."""
    return re.compile("|".join(translate(one) for one in patterns))


def checked_patterns(named: tuple[str, ...]) -> tuple[str, ...]:
    """Return patterns of types.

    Raises:
        UsageError: there are too many, or one is too long.
    """
    if len(named) > MAX_PATTERNS or any(len(one) > MAX_PATTERN_CHARS for one in named):
        raise UsageError(
            f"at most {MAX_PATTERNS} patterns of {MAX_PATTERN_CHARS} characters can be subscribed",
            hint="run:* stands for all that begin with run:",
        )
    if any(set(one) & set("[]?") for one in named):
        raise UsageError("a pattern knows no wildcard but *", hint="task:*, for example")
    return named


class Ring:
    """The last news, by number: at most `most`, of at most `most_chars` characters of data."""

    def __init__(self, most: int, most_chars: int) -> None:
        self._most = most
        self._most_chars = most_chars
        self._news: deque[News] = deque()
        self._chars = 0
        self.lost = 0
        """The number of the last one that is no longer there."""

    def __len__(self) -> int:
        return len(self._news)

    def add(self, news: News) -> None:
        """Add the newest."""
        self._news.append(news)
        self._chars += len(news.data_json)
        while len(self._news) > self._most or (
            self._chars > self._most_chars and len(self._news) > 1
        ):
            gone = self._news.popleft()
            self._chars -= len(gone.data_json)
            self.lost = gone.number

    def after(self, number: int) -> list[News]:
        """Return what came after it, oldest first, as far as it is still there."""
        found = list(takewhile(lambda one: one.number > number, reversed(self._news)))
        found.reverse()
        return found

"""What codex keeps of its sessions, as far as it must be known to count tokens.

At the end of a turn it tells the tokens of the whole session, those of earlier talks included. How
many those were stands in the session's file, line by line, as they were used.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from pydantic import JsonValue

from perstack.domain.usage import NO_USAGE, Usage
from perstack.runtimes.records import child, count_at, text_at

_ID: Final = re.compile(r"[0-9a-zA-Z-]{1,64}")
_LONGEST_LINE: Final = 64 * 1024
_LOG: Final = logging.getLogger(__name__)


def home_of(env: Mapping[str, str]) -> Path | None:
    """Return the folder where it keeps its things, None if it has no home."""
    if given := env.get("CODEX_HOME"):
        return Path(given)
    return Path(home, ".codex") if (home := env.get("HOME")) else None


def usage_told(told: Mapping[str, JsonValue]) -> Usage:
    """Return a usage as it tells it, in its output or its files."""
    read, said = count_at(told, "input_tokens"), count_at(told, "output_tokens")
    return Usage(
        input_tokens=read,
        output_tokens=said,
        reasoning_tokens=min(count_at(told, "reasoning_output_tokens"), said),
        total_tokens=read + said,
        cached_input_tokens=min(count_at(told, "cached_input_tokens"), read),
        cache_write_tokens=min(count_at(told, "cache_write_input_tokens"), read),
    )


def counted_before(home: Path | None, session: str, *, whole: bool) -> Usage | None:
    """Return what was told of a session's tokens so far, None when that cannot be known.

    What a talk used that was ended before its turn was over has been told to nobody, and is not
    counted in; with `whole` it is. Reads a file: for a thread, not for the event loop.
    """
    try:
        found = _file_of(home, session)
        return None if found is None else _read(found, whole=whole)
    except OSError as error:
        _LOG.warning("codex's record of a session cannot be read: %s", error.strerror)
        return None


def _file_of(home: Path | None, session: str) -> Path | None:
    if home is None or not _ID.fullmatch(session):
        return None
    return next((home / "sessions").glob(f"*/*/*/rollout-*-{session}.jsonl"), None)


def _read(file: Path, *, whole: bool) -> Usage:
    used = told = NO_USAGE
    with file.open("rb") as lines:
        while line := lines.readline(_LONGEST_LINE):
            if b'"token_count"' not in line and b'"task_complete"' not in line:
                continue
            payload = _payload(line)
            if text_at(payload, "type") == "token_count":
                info = child(payload, "info")
                used = usage_told(child(info, "total_token_usage")) if info else used
            elif text_at(payload, "type") == "task_complete":
                told = used
    return used if whole else told


def _payload(line: bytes) -> Mapping[str, JsonValue]:
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return (
        child(cast("Mapping[str, JsonValue]", found), "payload") if isinstance(found, dict) else {}
    )

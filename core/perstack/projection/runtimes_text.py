"""What can execute Experts on a machine: as a table for a reader and as JSON for a program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pydantic import JsonValue

from perstack.domain.runtimes import RuntimeName
from perstack.ports.programs import Installed
from perstack.projection.inert import inert
from perstack.projection.table_text import in_columns

_BELOW: Final = " " * 4
# Whether somebody is signed in is known to nobody but them.
_SIGN_IN_THEMSELVES: Final = ("claude-code", "codex")


def runtimes_lines(found: Sequence[Installed], chosen: RuntimeName) -> Iterator[str]:
    """Yield a line each, the chosen one marked, and below what is missing how to get it."""
    rows = [("", "RUNTIME", "VERSION", "STATE"), *(_row(one, chosen) for one in found)]
    heading, *lines = in_columns(rows)
    yield heading
    for one, line in zip(found, lines, strict=True):
        yield line
        yield from (f"{_BELOW}{inert(text, newlines=False)}" for text in _remedy(one))


def runtimes_json(found: Sequence[Installed], chosen: RuntimeName) -> dict[str, JsonValue]:
    """Return the same; `ready` tells whether nothing is known to be missing."""
    return {"chosen": chosen, "runtimes": [_record(one, chosen) for one in found]}


def _row(one: Installed, chosen: RuntimeName) -> tuple[str, ...]:
    mark = "*" if one.name == chosen else ""
    ready = "installed; its own login is used" if one.name in _SIGN_IN_THEMSELVES else "ready"
    return mark, one.name, one.version or "-", one.problem or ready


def _remedy(one: Installed) -> Iterator[str]:
    if one.problem is None:
        return
    if one.hint:
        yield one.hint
    if one.url:
        yield f"See: {one.url}"


def _record(one: Installed, chosen: RuntimeName) -> dict[str, JsonValue]:
    return {
        "name": one.name,
        "version": one.version,
        "ready": one.problem is None,
        "chosen": one.name == chosen,
        "kind": one.kind,
        "problem": one.problem,
        "hint": one.hint,
        "url": one.url,
    }

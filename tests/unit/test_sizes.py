"""A ceiling on sizes, which only ever comes down: what grows beyond it is split instead."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("core", "tui", "themes")
MODULE_LINES: Final = 400
CLASS_LINES: Final = 275
BODY_LINES: Final = 40
# What stands above the ceilings, and may not grow.
LARGE: Final = {
    "core/perstack/engine/run.py": 401,
    "core/perstack/engine/run.py:RunDriver": 322,
    "core/perstack/projection/state_fold.py:fold": 50,
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def sizes(package: str) -> tuple[tuple[str, int, int], ...]:
    """Name, lines and ceiling of a package's modules, their classes and functions' bodies."""
    return tuple(one for file in (ROOT / package).rglob("*.py") for one in _sizes(file))


def _sizes(file: Path) -> Iterator[tuple[str, int, int]]:
    name = str(file.relative_to(ROOT))
    text = file.read_text()
    yield name, len(text.splitlines()), MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            yield f"{name}:{node.name}", _lines(node, node), CLASS_LINES
        elif isinstance(node, Function):
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            if body:
                yield f"{name}:{node.name}", _lines(body[0], body[-1]), BODY_LINES


def _lines(first: ast.stmt, last: ast.stmt) -> int:
    return (last.end_lineno or last.lineno) - first.lineno + 1


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_larger_than_its_ceiling(package: str) -> None:
    assert sizes(package)
    grown = [
        f"{name}: {lines} lines, at most {LARGE.get(name, ceiling)}"
        for name, lines, ceiling in sorted(sizes(package))
        if lines > LARGE.get(name, ceiling)
    ]
    assert grown == []


def test_every_exception_is_still_needed() -> None:
    found = {
        name: (lines, ceiling) for package in PACKAGES for name, lines, ceiling in sizes(package)
    }
    stale = [name for name, most in LARGE.items() if found.get(name, (0, 0))[0] < most]
    assert stale == []

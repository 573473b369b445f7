"""Every row that this project answers for has a test, and the test exists."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
FAULTS: Final = Path(__file__).parent / "faults"
ROWS: Final = range(1, 142)
AGENTSTACK_ROWS: Final = range(1, 151)
# The P0 and P1 faults of durability, models, MCP servers, configuration, gates, security, terminal.
FAULT_ROWS: Final = (
    *(f"D{number}" for number in range(1, 22)),
    *(f"L{number}" for number in range(1, 20) if number != 15),
    *(f"M{number}" for number in range(1, 18)),
    *(f"C{number}" for number in range(1, 11)),
    *(f"G{number}" for number in range(1, 18)),
    *(f"S{number}" for number in range(1, 18)),
    *(f"A{number}" for number in range(1, 5)),
    *(f"T{number}" for number in range(1, 12)),
)
_NUMBERS: Final = r"rows?_((?:\d+_)(?:(?:to|and)_\d+_|\d+_)*)"
_NAME: Final = re.compile(f"test_{_NUMBERS}")
_AGENTSTACK_NAME: Final = re.compile(f"test_agentstack_{_NUMBERS}")


@cache
def functions_of(file: Path) -> frozenset[str]:
    """The names of all test functions of a file."""
    tree = ast.parse(file.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def rows_of(name: str, pattern: re.Pattern[str] = _NAME) -> Iterator[int]:
    """The rows that a test's name says: `test_row_4_and_25_…`, `test_rows_13_to_20_…`."""
    found = pattern.match(name)
    words = found[1].strip("_").split("_") if found else []
    last = 0
    through = False
    for word in words:
        if word.isdecimal():
            yield from range(last + 1 if through else int(word), int(word) + 1)
            last = int(word)
        through = word == "to"


@cache
def covered(pattern: re.Pattern[str]) -> frozenset[int]:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    names = [name for file in files for name in functions_of(file)]
    return frozenset(row for name in names for row in rows_of(name, pattern))


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_runtimes_conformance_has_a_test(row: int) -> None:
    assert row in covered(_NAME)


@pytest.mark.parametrize("row", AGENTSTACK_ROWS)
def test_every_row_of_the_coordination_cores_conformance_has_a_test(row: int) -> None:
    assert row in covered(_AGENTSTACK_NAME)


@cache
def fault_table() -> dict[str, list[str]]:
    files = sorted(FAULTS.glob("*.toml"))
    return {row: ids for file in files for row, ids in tomllib.loads(file.read_text()).items()}


@pytest.mark.parametrize("row", FAULT_ROWS)
def test_every_fault_to_be_survived_has_a_test(row: str) -> None:
    assert fault_table().get(row), f"no test is named for {row}"


@pytest.mark.parametrize(
    "test", sorted({test for tests in fault_table().values() for test in tests})
)
def test_the_tests_named_for_faults_exist(test: str) -> None:
    path, _, name = test.partition("::")
    assert name in functions_of(ROOT / path)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("test_row_7_a_thing", [7]),
        ("test_row_4_and_25_resume", [4, 25]),
        ("test_rows_13_to_16_and_20_show", [13, 14, 15, 16, 20]),
        ("test_rows_do_not_move", []),
    ],
)
def test_a_tests_name_says_its_rows(name: str, rows: list[int]) -> None:
    assert list(rows_of(name)) == rows

"""Calling what others wrote."""

from __future__ import annotations

import subprocess
import sys
from contextvars import ContextVar

import pytest

from perstack.services.foreign_calls import ForeignExitError, call_foreign

pytestmark = pytest.mark.anyio

NEVER_RETURNS = """
import anyio, threading
from perstack.services.foreign_calls import call_foreign

async def main():
    try:
        await call_foreign(threading.Event().wait, within_s=0.05)
    except TimeoutError:
        print("given up")

anyio.run(main)
"""


async def later(value: object) -> object:
    return value


async def test_a_function_is_called_in_a_thread_and_what_it_gives_is_awaited() -> None:
    told: ContextVar[str] = ContextVar("told")
    told.set("the caller's")
    assert await call_foreign(told.get, within_s=10) == "the caller's"
    assert await call_foreign(lambda: later(5), within_s=10) == 5


async def test_what_it_raises_comes_through_and_an_exit_is_one_of_its_failures() -> None:
    async def leaves() -> None:
        sys.exit(3)

    with pytest.raises(ZeroDivisionError):
        await call_foreign(lambda: 1 // 0, within_s=10)
    with pytest.raises(ForeignExitError, match="SystemExit: bye"):
        await call_foreign(lambda: sys.exit("bye"), within_s=10)
    with pytest.raises(ForeignExitError, match="SystemExit: 3"):
        await call_foreign(leaves, within_s=10)


def test_a_function_that_never_returns_keeps_no_program_from_ending() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NEVER_RETURNS],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "given up\n"

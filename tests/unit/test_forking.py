"""Programs that tests fork: in the state that a start of their own would have put them in."""

from __future__ import annotations

import pytest

from tests.fakes.forking import environment


@pytest.mark.parametrize(
    "told", ["PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "MALLOC_ARENA_MAX"]
)
def test_what_this_interpreter_was_told_keeps_no_test_from_forking(
    monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    monkeypatch.setenv("LANG", "C.UTF-8")
    before = environment()
    monkeypatch.setenv(told, "1")
    assert environment() == before

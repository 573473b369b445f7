"""Fixtures for every test: asyncio as the backend, a home and an environment of its own."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

from tests import blocking

# The same examples each time; HYPOTHESIS_PROFILE=default looks for new ones.
hypothesis.settings.register_profile("fixed", derandomize=True, database=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

KEPT = ("PATH", "LANG", "LC_ALL", "TERM", "VIRTUAL_ENV", "TMPDIR", "CI")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def own_environment(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Give the test an empty home and none of the developer's variables."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name not in KEPT and not name.startswith("PYTEST"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def no_blocking_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program call nothing that blocks on its event loop."""
    blocking.forbid(monkeypatch)

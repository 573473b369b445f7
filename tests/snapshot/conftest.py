"""Snapshots are taken in UTC, and the plug-in's own variable survives the clean environment."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGIN_FOLDER = "TEXTUAL_SNAPSHOT_TEMPDIR"


@pytest.fixture(autouse=True, scope="session")
def plugin_folder() -> str:
    """What the plug-in set when the session began."""
    return os.environ.get(PLUGIN_FOLDER, "")


@pytest.fixture(autouse=True)
def still_picture(
    own_environment: Path, plugin_folder: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    if plugin_folder:
        monkeypatch.setenv(PLUGIN_FOLDER, plugin_folder)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.delenv("TZ")
    time.tzset()

"""Temporary folders that killed processes left behind are removed, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import pytest

from perstack.runtimes.temporary import own_folder, sweep

pytestmark = pytest.mark.anyio

LONG_AGO: Final = time.time() - 3_600
HOLDS: Final = """
import sys, anyio
from perstack.runtimes.temporary import own_folder
async def main():
    async with own_folder("x") as folder:
        (folder / "secret").write_text("s")
        print(folder, flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left(top: Path, name: str, *, mode: int = 0o700, at: float = LONG_AGO) -> Path:
    """Make a folder as a killed process leaves it."""
    folder = top / name
    folder.mkdir()
    (folder / "secret").write_text("s")
    folder.chmod(mode)
    os.utime(folder, (at, at))
    return folder


def test_what_a_killed_process_left_behind_is_removed_and_what_a_living_one_has_is_not(
    top: Path,
) -> None:
    env = {**os.environ, "TMPDIR": str(top)}
    words = [sys.executable, "-c", HOLDS]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        os.utime(folder, (LONG_AGO, LONG_AGO))
        sweep("perstack-x-")
        assert folder.is_dir()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (folder / "secret").exists()
    sweep("perstack-x-")
    assert not folder.exists()


async def test_a_folder_is_its_owners_alone_and_gone_afterwards(top: Path) -> None:
    old = left(top, "perstack-x-aaaaaaaa")
    async with own_folder("x") as folder, own_folder("x") as other:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder != other
        assert not old.exists()
    assert list(top.iterdir()) == []


def test_only_our_own_folders_are_removed(top: Path) -> None:
    target = left(top, "elsewhere")
    (top / "perstack-x-linklink").symlink_to(target)
    (top / "perstack-x-file0000").write_text("a file")
    kept = [
        left(top, "perstack-x-fresh000", at=time.time()),
        left(top, "perstack-x-opened00", mode=0o755),
        left(top, "perstack-x-toolong00"),
        left(top, "perstack-y-other000"),
        target,
        top / "perstack-x-linklink",
        top / "perstack-x-file0000",
    ]
    inside = left(top, "perstack-x-inside00")
    (inside / "way-out").symlink_to(target)
    os.utime(inside, (LONG_AGO, LONG_AGO))
    sweep("perstack-x-")
    assert not inside.exists()
    assert sorted(top.iterdir()) == sorted(kept)
    assert (target / "secret").exists()


def test_a_place_that_cannot_be_looked_at_is_let_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    sweep("perstack-x-")

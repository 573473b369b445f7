"""What a killed process left behind is cleared away by the next; what somebody uses is let be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from perstack.runtimes.docker.engine import Engine
from perstack.runtimes.docker.stale import clear_away, labels_of

pytestmark = pytest.mark.anyio

HERE = socket.gethostname()


def dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def engine_with(folder: Path, *projects: tuple[str, str, int, int, str]) -> Engine:
    """An engine whose list of containers has these projects, and that notes what it is asked."""
    lines = ["\t".join(map(str, project)) for project in projects]
    (folder / "ps.txt").write_text("".join(f"{line}\n" for line in lines))
    script = folder / "docker"
    script.write_text(
        f"""#!/bin/sh
echo "$*" >> {folder}/calls.txt
case "$*" in
  "ps --all --filter label=perstack.project --format"*) cat {folder}/ps.txt;;
  "ps --quiet --filter label=perstack.project="*) echo c1;;
  "ps --all --quiet --filter label=perstack.project="*) echo c1; echo c2;;
  "network ls --quiet --filter label=perstack.project="*) echo n1;;
esac
"""
    )
    script.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return Engine("docker", "1.0", ("docker", "compose"), {"PATH": path})


def calls(folder: Path) -> list[str]:
    return (folder / "calls.txt").read_text().splitlines()


async def test_containers_of_a_dead_process_are_stopped_and_removed_with_their_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_with(tmp_path, ("perstack-old", "job-old", dead_pid(), 1, HERE))
    monkeypatch.setenv("PATH", engine.env["PATH"])
    assert await clear_away(engine) == {"job-old"}
    assert calls(tmp_path)[2:] == [
        "ps --quiet --filter label=perstack.project=perstack-old",
        "kill --signal INT perstack-old-runtime",
        "wait perstack-old-runtime",
        "ps --all --quiet --filter label=perstack.project=perstack-old",
        "rm --force --volumes c1 c2",
        "network ls --quiet --filter label=perstack.project=perstack-old",
        "network rm n1",
    ]


async def test_what_a_living_process_or_another_machine_has_is_let_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    born = round(psutil.Process().create_time())
    engine = engine_with(
        tmp_path,
        ("perstack-mine", "job-1", os.getpid(), born, HERE),
        ("perstack-other", "job-2", dead_pid(), 1, "another-machine"),
    )
    monkeypatch.setenv("PATH", engine.env["PATH"])
    assert await clear_away(engine) == frozenset()
    assert len(calls(tmp_path)) == 2


async def test_a_process_that_merely_got_the_same_number_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_with(tmp_path, ("perstack-old", "job-old", os.getpid(), 1, HERE))
    monkeypatch.setenv("PATH", engine.env["PATH"])
    await clear_away(engine)
    assert "rm --force --volumes c1 c2" in calls(tmp_path)


def test_labels_say_which_process_made_something() -> None:
    labels = labels_of("perstack-x", "job1")
    assert labels["perstack.pid"] == str(os.getpid())
    assert labels["perstack.job"] == "job1"

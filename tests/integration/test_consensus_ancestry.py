"""A run decides no gate: not by itself, and not through what it starts (G6)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from perstack.domain.consensus import ConsensusStatus
from perstack.domain.ids import ConsensusId
from perstack.errors import DeniedError
from perstack.services.ancestry import refuse_if_inside_run, run_around
from perstack.storage.database.opener import database_path, open_consensus_store
from tests.fakes.consensus import SetClock, make_checkpoint
from tests.fakes.consensus_decider import claim_to_drive

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
K1 = ConsensusId("k1")


@pytest.fixture
async def workspace(tmp_path: Path) -> Path:
    store = await open_consensus_store(database_path(tmp_path), clock=SetClock())
    await store.create(make_checkpoint())
    await store.aclose()
    return tmp_path


async def status(workspace: Path) -> ConsensusStatus:
    store = await open_consensus_store(database_path(workspace), clock=SetClock())
    found = await store.get(K1)
    await store.aclose()
    return found.status


def decider(*args: str | Path, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fakes.consensus_decider", *args],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


def write_header(workspace: Path, **header: object) -> None:
    live = workspace / "perstack" / "live"
    live.mkdir(parents=True, exist_ok=True)
    (live / "job1.jsonl").write_text(json.dumps(header) + "\n{}\n")


def now_ms() -> int:
    return int(time.time() * 1000)


async def test_a_process_of_its_own_may_decide(workspace: Path) -> None:
    assert decider(workspace, "k1") == "approved"
    assert await status(workspace) == "approved"


async def test_a_process_with_the_marks_of_a_run_may_not(workspace: Path) -> None:
    said = decider(workspace, "k1", PERSTACK_RUN_ID="run1")
    assert said.startswith("denied: a run cannot decide")
    assert await status(workspace) == "pending"


async def test_a_process_that_sheds_the_marks_may_not_either(workspace: Path) -> None:
    said = decider("--shed", workspace, "k1", PERSTACK_RUN_ID="run1")
    assert said.startswith("denied: a run cannot decide")
    assert "which belongs to a run" in said
    assert await status(workspace) == "pending"


async def test_a_process_below_one_that_drives_a_job_may_not(workspace: Path) -> None:
    said = decider("--below", workspace, workspace, "k1")
    assert said.startswith("denied: a run cannot decide")
    assert "which runs job job1" in said
    assert await status(workspace) == "pending"


async def test_a_driver_may_when_a_person_pressed_the_key(workspace: Path) -> None:
    assert decider("--self", workspace, "k1", "no").startswith("denied:")
    assert await status(workspace) == "pending"
    assert decider("--self", workspace, "k1", "allow") == "approved"


async def test_an_old_file_whose_pid_belongs_to_somebody_else_now_is_ignored(
    tmp_path: Path,
) -> None:
    write_header(tmp_path, pid=os.getppid(), host=socket.gethostname(), startedAt=1_000)
    refuse_if_inside_run(tmp_path)


async def test_a_driver_on_another_host_is_ignored(tmp_path: Path) -> None:
    write_header(tmp_path, pid=os.getpid(), host="elsewhere", startedAt=now_ms())
    refuse_if_inside_run(tmp_path)


async def test_a_driver_that_does_not_say_since_when_counts(tmp_path: Path) -> None:
    write_header(tmp_path, pid=os.getpid())
    with pytest.raises(DeniedError):
        refuse_if_inside_run(tmp_path)


@pytest.mark.parametrize("line", [b"", b"{", b"[" * 10_000, b'{"pid": "x"}', b"\xff\n", b"7\n"])
async def test_a_broken_file_hides_no_other(tmp_path: Path, line: bytes) -> None:
    write_header(tmp_path, pid=os.getpid(), host=socket.gethostname(), startedAt=now_ms())
    (tmp_path / "perstack" / "live" / "a.jsonl").write_bytes(line)
    with pytest.raises(DeniedError, match="job1"):
        refuse_if_inside_run(tmp_path)


NESTED = """
import os, subprocess, sys
from pathlib import Path
from perstack.services.ancestry import run_around
if sys.argv[2] == "child":
    print(run_around(Path(sys.argv[1])))
else:
    clean = {name: value for name, value in os.environ.items() if "PERSTACK" not in name}
    subprocess.run([sys.executable, "-c", os.environ["NESTED"], sys.argv[1], "child"], env=clean)
"""


@pytest.mark.parametrize("mark", ["PERSTACK_RUN_ID", "PERSTACK_JOB_ID"])
async def test_a_process_of_a_run_is_known_to_be_one_with_its_marks_and_without(
    workspace: Path, mark: str
) -> None:
    assert run_around(workspace, env={}) is None
    assert run_around(workspace, env={mark: "r1"}) == "r1"
    env = {**os.environ, "NESTED": NESTED, mark: "r1"}
    command = [sys.executable, "-c", NESTED, str(workspace), "parent"]
    ran = await anyio.run_process(command, env=env)
    assert ran.stdout.decode().strip() == "r1"


async def test_a_process_below_a_driver_is_known_to_belong_to_its_job(workspace: Path) -> None:
    claim_to_drive(workspace)
    # This process drives the job; what it starts is inside it.
    assert await anyio.to_thread.run_sync(run_around, workspace) is None
    command = [sys.executable, "-c", NESTED, str(workspace), "child"]
    ran = await anyio.run_process(command)
    assert ran.stdout.decode().strip() == "job1"

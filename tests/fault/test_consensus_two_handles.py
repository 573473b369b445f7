"""Two handles of one process on one file: opening the second costs the first none of its locks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from perstack.domain.ids import ConsensusId
from perstack.ports.system import SystemClock
from perstack.storage.database.opener import database_path, open_consensus_store
from tests.fakes.consensus import make_checkpoint

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


async def test_what_others_commit_is_seen_after_a_second_handle_was_opened(tmp_path: Path) -> None:
    path, clock = database_path(tmp_path), SystemClock()
    first = await open_consensus_store(path, clock=clock)
    await first.create(make_checkpoint())
    second = await open_consensus_store(path, clock=clock)
    # It opens, decides and closes; if nobody seemed to have the file open it would remove the WAL.
    command = [sys.executable, "-m", "tests.fakes.consensus_decider", str(tmp_path), "k1"]
    ran = await anyio.run_process(command, cwd=ROOT, stderr=subprocess.STDOUT)
    assert ran.stdout.decode().strip() == "approved"
    assert path.with_name(f"{path.name}-wal").exists()
    for store in (first, second):
        assert (await store.get(ConsensusId("k1"))).status == "approved"
    await first.create(make_checkpoint("k2"))
    await first.aclose()
    await second.aclose()
    again = await open_consensus_store(path, clock=clock)
    assert {one.id for one in await again.list()} == {"k1", "k2"}
    await again.aclose()

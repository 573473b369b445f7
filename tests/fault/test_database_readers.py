"""A reader that does not let go of its moment: writers go on, and the log shrinks again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from perstack.domain.ids import ConsensusId
from perstack.storage.database.opener import open_consensus_store
from tests.fakes.consensus import SetClock, make_checkpoint

pytestmark = pytest.mark.anyio

WRITES = 300
MANY_BYTES = 20_000
LOG_LIMIT = 4 << 20


async def test_a_reader_that_stays_in_its_transaction_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "perstack" / "perstack.db"
    store = await open_consensus_store(path, clock=SetClock())
    await store.create(make_checkpoint("first"))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        before = reader.execute("SELECT count(*) FROM consensus_checkpoints").fetchone()
        for n in range(WRITES):
            await store.create(make_checkpoint(f"k{n}", text="x" * MANY_BYTES))
        assert len(await store.list(limit=WRITES * 2)) == WRITES + 1
        assert reader.execute("SELECT count(*) FROM consensus_checkpoints").fetchone() == before
        assert path.with_name("perstack.db-wal").stat().st_size > LOG_LIMIT
        reader.execute("ROLLBACK")
    # Once nobody needs the old pages, the next writers fold the log back and cut it.
    for n in range(3):
        await store.create(make_checkpoint(f"after{n}", text="x" * MANY_BYTES))
    assert path.with_name("perstack.db-wal").stat().st_size <= LOG_LIMIT
    assert (await store.get(ConsensusId("k0"))).id == "k0"
    await store.aclose()

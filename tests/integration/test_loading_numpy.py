"""NumPy takes a moment to load: no event loop waits for that, nor for the search for a model."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import pytest

from perstack.domain.coordination import (
    CoordinationSettings,
    MemorySettings,
    VectorSearchSettings,
)
from perstack.domain.memory import Caller
from perstack.domain.settings import ConsensusSettings
from perstack.wiring import ProjectFacts, memory_over, open_tables

PROGRAM: Final = """
import sys, threading
import anyio

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy" and threading.current_thread() is threading.main_thread():
            raise AssertionError("NumPy is loaded by the event loop")

sys.meta_path.insert(0, Watch())

async def main():
{lines}

anyio.run(main)
assert "numpy" in sys.modules
"""
HASHED: Final = """
    from perstack.embeddings.hashed import HashedEmbedder
    assert len(await HashedEmbedder().embed({texts})) == len({texts})
"""
REMOTE: Final = """
    from perstack.embeddings.http import Endpoint
    from perstack.embeddings.openai import OPENAI
    from perstack.embeddings.remote import RemoteEmbedder
    one = RemoteEmbedder(OPENAI, Endpoint("OpenAI", "https://nowhere.example", "key"), model="x")
    assert len(await one.embed([])) == 0
"""
MINILM: Final = """
    from pathlib import Path
    from perstack.embeddings.minilm import MiniLmEmbedder
    assert len(await MiniLmEmbedder(Path("nowhere")).embed([])) == 0
"""
SEARCH: Final = """
    from pathlib import Path
    from perstack.domain.coordination import MemorySettings
    from perstack.domain.memory import Caller
    from perstack.embeddings.hashed import HashedEmbedder
    from perstack.ports.system import SystemClock, Uuids
    from perstack.services.handle import Handle
    from perstack.services.memory import MemoryService
    from perstack.storage.database.opener import open_memory_store

    async def embedder():
        return HashedEmbedder()

    stores = Handle(lambda: open_memory_store(Path("x.db"), clock=SystemClock(), ids=Uuids()))
    memory = MemoryService(stores, settings=MemorySettings(), open_embedder=embedder)
    me = Caller("ana@desk")
    await memory.store(me, "k", "apple")
    assert (await memory.search(me, "apple")).results[0].match_type == "hybrid"
    await stores.aclose()
"""


@pytest.mark.parametrize(
    "lines",
    [HASHED.format(texts=[]), HASHED.format(texts=["a", "b"]), REMOTE, MINILM, SEARCH],
    ids=["hashed-nothing", "hashed", "remote-nothing", "minilm-nothing", "memory"],
)
def test_numpy_is_loaded_by_a_worker_thread(lines: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(lines=lines)],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ran.returncode, ran.stderr[-2_000:]) == (0, "")


@pytest.mark.anyio
async def test_a_model_is_looked_for_by_a_worker_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[threading.Thread] = []

    def find() -> None:
        looked.append(threading.current_thread())

    monkeypatch.setattr("perstack.embeddings.opener.find_minilm", find)
    search = VectorSearchSettings(enabled=True)
    settings = CoordinationSettings(memory=MemorySettings(vector_search=search))
    tables = open_tables(tmp_path)
    memory = memory_over(tables, ProjectFacts(settings, ConsensusSettings(), {}, ()))
    await memory.index.stats(Caller("ana@desk"))
    await tables.aclose()
    assert looked
    assert threading.current_thread() not in looked

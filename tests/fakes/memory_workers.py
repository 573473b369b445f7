"""A process of the memory's concurrency test."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import anyio

from perstack.domain.memory import Scope
from perstack.ports.memory import Draft, Embedding
from perstack.ports.system import SystemClock, Uuids
from perstack.storage.database.opener import open_memory_store
from tests.fakes.memory import WordEmbedder, agent

TIMEOUT_S = 50
SHARED = 20


@dataclass(frozen=True)
class Written:
    """How long each write of a party took, in ms, and what went wrong, if anything did."""

    party: int
    took_ms: list[float]
    error: str | None = None


def write(
    target: Path | str, party: int, writes: int, start: Barrier, results: Queue[Written]
) -> None:
    """Store half of `writes` under keys of one's own, half under keys that all parties use."""
    took: list[float] = []
    try:
        anyio.run(_write, target, party, writes, start, took)
        results.put(Written(party, took))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
        results.put(Written(party, took, repr(error)))


async def _write(
    target: Path | str, party: int, writes: int, start: Barrier, took: list[float]
) -> None:
    store = await open_memory_store(target, clock=SystemClock(), ids=Uuids(), busy_s=30)
    origin = agent(f"a{party}").origin
    words = WordEmbedder()
    here = Scope(namespace="default")
    start.wait(TIMEOUT_S)  # nothing else runs in this process
    for n in range(writes):
        key = f"shared-{n % SHARED}" if n % 2 else f"own-{party}-{n}"
        content = f"party {party} wrote number {n} under {key}"
        vector = Embedding(words.name, words.vector(content)) if n % 8 == 0 else None
        began = time.perf_counter()
        await store.put(Draft("default", key, content, origin, embedding=vector))
        took.append((time.perf_counter() - began) * 1_000)
        if n % 50 == 0:
            assert await store.search_text(here, f"party {party} number {n}", limit=1)
    await store.aclose()

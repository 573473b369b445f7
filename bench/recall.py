"""What storing and finding takes at a thousand to a million memory entries."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import anyio
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from bench.measure import ROOT, environment, heading, median, row
from perstack.domain.coordination import MemorySettings
from perstack.domain.memory import Caller
from perstack.ports.memory import MemoryStore
from perstack.ports.system import SystemClock, Uuids
from perstack.services.handle import Handle
from perstack.services.memory import MemoryService
from perstack.storage.database.opener import open_database, open_memory_store

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
DIMENSIONS: Final = 256
# AgentStack 1.6.1 over its own protocol, the floor of that (0.19 ms) included. Its vector search
# was not measured.
THEIRS: Final[dict[tuple[str, int], float]] = {
    ("store", 1_000): 0.69,
    ("rare word", 1_000): 0.41,
    ("rare word", 100_000): 0.42,
    ("common word", 1_000): 1.15,
    ("common word", 100_000): 51,
    ("list", 1_000): 2.0,
    ("list", 10_000): 12,
    ("list", 100_000): 57,
}
ME: Final = Caller("bench")
_BATCH: Final = 10_000
_WORDS: Final = 20_000
_GROUPS: Final = 2_000


class Vectors:
    """Texts of one group have vectors close to each other, as the near-duplicates they stand for.

    It takes no time, so that what is measured is the memory.
    """

    name = "bench:groups"
    dimensions: int | None = DIMENSIONS

    def __init__(self) -> None:
        made = np.random.default_rng(7).standard_normal((_GROUPS, DIMENSIONS), dtype=np.float32)
        self._centres = made / np.linalg.norm(made, axis=1, keepdims=True)

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the centre of the group that each text's first word numbers."""
        return self._centres[[int(text.split()[0][1:]) % _GROUPS for text in texts]]

    def near(self, first: int, number: int) -> NDArray[np.float32]:
        """Return vectors close to the centres of consecutive groups."""
        noise = np.random.default_rng(first).standard_normal((number, DIMENSIONS), dtype=np.float32)
        made = self._centres[np.arange(first, first + number) % _GROUPS] + noise * 0.03
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    async def open(self) -> Vectors | None:
        """Be opened."""
        return self

    async def aclose(self) -> None:
        """Hold nothing."""


def recall(rounds: int, sizes: Sequence[int] = SIZES) -> None:
    """Each size in a process and a file of its own; medians of many calls."""
    heading(f"Memory, {DIMENSIONS} numbers a vector (ms)", floor="AgentStack")
    for size in sizes:
        found = _measured(size, rounds)
        for name, took in found.items():
            if name != "MB":
                row(f"{size:>9,} {name}", took, THEIRS.get((name, size), 0), "ms", "-")
        row(f"{size:>9,} peak of the process", found["MB"], 0, "MB", "-")


def _measured(size: int, rounds: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.recall", str(size), str(rounds)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment({}), check=True, capture_output=True, text=True
    )
    return {str(name): float(took) for name, took in json.loads(done.stdout).items()}


async def measure(path: Path, size: int, rounds: int) -> dict[str, float]:
    """Fill a database and measure; times in ms, `MB` the peak of the process."""
    vectors = Vectors()
    await fill(path, size, vectors)
    handle = Handle[MemoryStore](
        lambda: open_memory_store(path, clock=SystemClock(), ids=Uuids(), busy_s=60)
    )
    memory = MemoryService(handle, settings=MemorySettings(), open_embedder=vectors.open)
    numbers = count(10 * size)
    store = partial(_store, memory, numbers)
    search = partial(memory.search, ME)
    found = {
        "rare word": await _median(rounds, partial(search, "zebrafish", use_vector=False)),
        "common word": await _median(rounds, partial(search, "common", use_vector=False)),
        "two words": await _median(rounds, partial(search, "common w77x", use_vector=False)),
        "list": await _median(rounds, partial(memory.list, ME)),
    }
    began = time.perf_counter()
    await search("g5 zebrafish")
    found["first vector search of a process"] = (time.perf_counter() - began) * 1_000
    found["vector"] = await _median(rounds, partial(search, "g5 nothing"))
    found["hybrid"] = await _median(rounds, partial(search, "g5 zebrafish"))
    found["store"] = await _median(rounds, partial(store, generate_embedding=False))
    found["store with vector"] = await _median(rounds, store)
    found["store, then hybrid"] = await _median(rounds, partial(_both, store, search))
    found["MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    await handle.aclose()
    return found


async def _median(rounds: int, call: Callable[[], Awaitable[object]]) -> float:
    await call()
    took: list[float] = []
    for _ in range(4 * rounds + 3):
        began = time.perf_counter()
        await call()
        took.append((time.perf_counter() - began) * 1_000)
    return median(took)


async def _store(
    memory: MemoryService, numbers: count[int], *, generate_embedding: bool | None = None
) -> None:
    number = next(numbers)
    await memory.store(
        ME, f"key-{number}", f"g{number} a new note", generate_embedding=generate_embedding
    )


async def _both(
    store: Callable[[], Awaitable[object]], search: Callable[[str], Awaitable[object]]
) -> None:
    await store()
    await search("g5 zebrafish")


async def fill(path: Path, size: int, vectors: Vectors) -> None:
    """Write the rows as storing them one by one would, all in a few transactions."""
    database = await open_database(path)
    for first in range(0, size, _BATCH):
        number = min(_BATCH, size - first)
        await database.write(partial(_write, first=first, number=number, size=size, made=vectors))
    await database.aclose()


def _write(connection: sa.Connection, *, first: int, number: int, size: int, made: Vectors) -> None:
    stored = made.near(first, number).astype("<f2")
    numbers = range(first + 1, first + number + 1)
    texts = [_text(one, size) for one in numbers]
    cursor = connection.connection.cursor()
    cursor.executemany(
        "INSERT INTO memory_entries (number, id, namespace, key, content, origin, version,"
        " revision, created_at, updated_at) VALUES (?, ?, 'default', ?, ?, ?, 0, ?, ?, ?)",
        [
            (one, f"id-{one}", f"key-{one}", text, '{"kind":"person","name":"b"}', one, one, one)
            for one, text in zip(numbers, texts, strict=True)
        ],
    )
    cursor.executemany(
        "INSERT INTO memory_text (rowid, key, content) VALUES (?, ?, ?)",
        [(one, f"key-{one}", text) for one, text in zip(numbers, texts, strict=True)],
    )
    cursor.executemany(
        "INSERT INTO memory_vectors (entry, embedder, vector, revision) VALUES (?, ?, ?, ?)",
        [
            (one, made.name, vector.tobytes(), one)
            for one, vector in zip(numbers, stored, strict=True)
        ],
    )
    cursor.execute("UPDATE memory_clock SET revision = ?", (first + number,))


def _text(number: int, size: int) -> str:
    random = np.random.default_rng(number)
    words = [f"w{one}x" for one in random.integers(0, _WORDS, 8 + number % 32)]
    rare = ["zebrafish"] if number % (size // 20) == 0 else []
    return " ".join([f"g{number}", *words, "common", *rare])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="recall") as folder:
        place = Path(folder) / "perstack" / "perstack.db"
        print(json.dumps(anyio.run(measure, place, int(sys.argv[1]), int(sys.argv[2]))))

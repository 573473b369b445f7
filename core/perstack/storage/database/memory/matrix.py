"""All vectors of one embedder in memory, a byte a number, and the search in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from perstack.storage.database.memory.tables import BYTES_A_NUMBER

_BLOCK: Final = 4_096
_PART: Final = 262_144
_NOBODY: Final = -1
_GONE: Final = -1
# How far the cosine of the rounded vectors may be from the true one: twice what was measured.
SLACK: Final = 0.02


def pack(vector: NDArray[np.float32]) -> bytes:
    """Return the bytes that are stored: half precision, whose cosines are right to 0.001."""
    return np.asarray(vector, dtype="<f2").tobytes()


def unpack(stored: bytes) -> NDArray[np.float32]:
    """Return the vector that was stored."""
    return np.frombuffer(stored, dtype="<f2").astype(np.float32)


class Row(NamedTuple):
    """A stored vector, whose entry it is, and who may see that."""

    number: int
    stored: bytes
    namespace: str
    agent_id: str | None


@dataclass(frozen=True, slots=True)
class View:
    """Which rows are looked at; `own` is the namespace that stays open of `closed_prefix`."""

    namespace: str | None
    closed_prefix: str | None
    own: str
    agent_id: str | None
    include_shared: bool


class Matrix:
    """Rows are added and marked as gone, never moved: about `dimensions` + 20 bytes each."""

    def __init__(self, dimensions: int) -> None:
        self._blocks: list[NDArray[np.int8]] = []
        self._dimensions = dimensions
        self._used = 0
        self._newest = 0
        self._numbers = np.zeros(_BLOCK, np.int64)
        self._scales = np.zeros(_BLOCK, np.float32)
        self._spaces = np.zeros(_BLOCK, np.int32)
        self._owners = np.zeros(_BLOCK, np.int32)
        self._space_ids: dict[str | None, int] = {None: _GONE}
        self._owner_ids: dict[str | None, int] = {None: _NOBODY}

    def __len__(self) -> int:
        return int(np.count_nonzero(self._spaces[: self._used] != _GONE))

    @property
    def wasted(self) -> bool:
        """Whether most rows are gone, so that it should be made anew."""
        return self._used > _BLOCK and len(self) < self._used // 2

    @property
    def dimensions(self) -> int:
        """How many numbers its vectors have."""
        return self._dimensions

    def remove(self, numbers: Collection[int]) -> None:
        """Forget entries; those that are not there do not matter."""
        known = [number for number in numbers if number <= self._newest]
        if not known:
            return
        mine = self._numbers[: self._used]
        hit = mine == known[0] if len(known) == 1 else np.isin(mine, known)
        self._spaces[: self._used][hit] = _GONE

    def add(self, rows: Sequence[Row]) -> None:
        """Take in rows, in place of those of the same entries. Odd lengths are left out."""
        self.remove([row.number for row in rows])
        size = BYTES_A_NUMBER * self._dimensions
        fitting = [row for row in rows if len(row.stored) == size]
        if not fitting or not size:
            return
        numbers, stored, namespaces, agents = zip(*fitting, strict=True)
        vectors = np.frombuffer(b"".join(stored), dtype="<f2").astype(np.float32)
        codes, scales = _rounded(vectors.reshape(len(fitting), -1))
        start = self._used
        self._grow(start + len(fitting))
        place = slice(start, self._used)
        self._numbers[place] = numbers
        self._scales[place] = scales
        self._spaces[place] = _interned(self._space_ids, namespaces)
        self._owners[place] = _interned(self._owner_ids, agents)
        self._newest = max(self._newest, *numbers)
        self._write(codes, start)

    def search(
        self, query: NDArray[np.float32], view: View, *, limit: int, threshold: float
    ) -> Sequence[int]:
        """Return the numbers of candidates: all of the best `limit`, and some more."""
        chosen = self._chosen(view)
        if len(query) != self._dimensions or not chosen.any():
            return []
        scores = np.full(self._used, -2.0, np.float32)
        for at, block in enumerate(self._blocks):
            begin, end = at * _BLOCK, min((at + 1) * _BLOCK, self._used)
            wanted = chosen[begin:end]
            many = int(np.count_nonzero(wanted))
            if many * 4 > end - begin:
                scores[begin:end] = _products(block[: end - begin], query)
            elif many:
                scores[begin:end][wanted] = _products(block[: end - begin][wanted], query)
        scores *= self._scales[: self._used]
        scores[~chosen] = -2.0
        most = min(2 * limit + 64, self._used)
        best = np.argpartition(scores, -most)[-most:]
        best = best[scores[best] >= threshold - SLACK]
        return [int(number) for number in self._numbers[best]]

    def _chosen(self, view: View) -> NDArray[np.bool_]:
        spaces, owners = self._spaces[: self._used], self._owners[: self._used]
        if view.namespace is not None:
            chosen = spaces == self._space_ids.get(view.namespace, _GONE - 1)
        else:
            chosen = spaces != _GONE
            if view.closed_prefix is not None:
                closed = [
                    number
                    for name, number in self._space_ids.items()
                    if name is not None and name.startswith(view.closed_prefix) and name != view.own
                ]
                chosen &= ~np.isin(spaces, closed)
        if view.agent_id is not None:
            mine = owners == self._owner_ids.get(view.agent_id, _NOBODY - 1)
            chosen &= (mine | (owners == _NOBODY)) if view.include_shared else mine
        return chosen

    def _grow(self, used: int) -> None:
        while len(self._blocks) * _BLOCK < used:
            self._blocks.append(np.zeros((_BLOCK, self._dimensions), np.int8))
        if used > len(self._numbers):
            size = max(used, 2 * len(self._numbers))
            self._numbers = np.resize(self._numbers, size)
            self._scales = np.resize(self._scales, size)
            self._spaces = np.resize(self._spaces, size)
            self._owners = np.resize(self._owners, size)
        self._used = used

    def _write(self, codes: NDArray[np.int8], start: int) -> None:
        done = 0
        while done < len(codes):
            block, offset = divmod(start + done, _BLOCK)
            part = codes[done : done + _BLOCK - offset]
            self._blocks[block][offset : offset + len(part)] = part
            done += len(part)


def _products(codes: NDArray[np.int8], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Multiply in parts so small that the linear algebra starts no threads.

    On a machine that is busy it waits for them: a hundred times as long as the work takes.
    """
    made = np.empty(len(codes), np.float32)
    rows = max(1, _PART // len(query))
    for start in range(0, len(codes), rows):
        part = codes[start : start + rows].astype(np.float32)
        np.dot(part, query, out=made[start : start + rows])
    return made


def _rounded(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Make whole numbers from -127 to 127 in place; return them and each row's factor."""
    most = np.abs(vectors).max(axis=1)
    scales = np.where(most > 0, most, 1).astype(np.float32) / np.float32(127)
    vectors /= scales[:, None]
    return np.rint(vectors, out=vectors).astype(np.int8), scales


def _interned(known: dict[str | None, int], names: Sequence[str | None]) -> list[int]:
    for name in set(names):
        known.setdefault(name, len(known) - 1)
    return [known[name] for name in names]

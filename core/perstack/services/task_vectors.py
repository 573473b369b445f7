"""Vectors of tasks' inputs: made once, kept with the tasks, waited for when they are on their way.

What is missing when an ancestor is looked at is made then and there, so nothing depends on whether
the process that promised a vector lives on, or had an embedder at all.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import anyio
from anyio import to_thread

from perstack.domain.ids import TaskId
from perstack.errors import PerstackError
from perstack.ports.embeddings import Embedder
from perstack.ports.stores import Stores
from perstack.ports.system import Clock
from perstack.ports.tasks import Ancestor, Mark
from perstack.services.handle import Handle
from perstack.services.vectors import Similarity, most_similar, to_bytes

MAX_ANCESTORS: Final = 500
MAX_EMBEDDED_CHARS: Final = 30_000

_BACKLOG: Final = 1_000
_BATCH: Final = 64
_REMEMBERED: Final = 64
_FLOAT_BYTES: Final = 4
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """Bounds of waits, in seconds: for vectors on their way, for the embedder, at the end."""

    wait_s: float = 10.0
    embed_s: float = 30.0
    poll_s: float = 0.05
    close_s: float = 2.0


class TaskVectors:
    """Makes, keeps and compares vectors of one embedder; `work` runs in the background."""

    def __init__(
        self, stores: Handle[Stores], embedder: Embedder, *, clock: Clock, timing: Timing
    ) -> None:
        self._stores = stores
        self._embedder = embedder
        self._clock = clock
        self._timing = timing
        self._backlog: dict[TaskId, str] = {}
        self._under_way: dict[TaskId, anyio.Event] = {}
        self._more = anyio.Event()
        self._recent: OrderedDict[str, bytes] = OrderedDict()

    def mark(self, text: str | None) -> Mark | None:
        """Return what to write of a new task's vector: itself, if it was made just now."""
        if not (text or "").strip():
            return None
        return Mark(self._embedder.name, self._recent.get(_cut(text)))

    # --------------------------------------------------------------- making

    async def make(self, task_id: TaskId, text: str) -> None:
        """Make the vector of a task now; a failure is logged, and who needs it tries again."""
        self._under_way[task_id] = anyio.Event()
        await self._make({task_id: _cut(text)})

    async def make_later(self, task_id: TaskId, text: str) -> None:
        """Leave the vector of a task to `work`."""
        if len(self._backlog) >= _BACKLOG:
            await self._give_up([task_id])
            return
        self._under_way[task_id] = anyio.Event()
        self._backlog[task_id] = _cut(text)
        self._more.set()

    async def work(self) -> None:
        """Make what was left to it, until cancelled."""
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            while self._backlog:
                batch = dict(list(self._backlog.items())[:_BATCH])
                for one in batch:
                    del self._backlog[one]
                await self._make(batch)

    async def settled(self) -> None:
        """Return once no vector of this process is on its way."""
        while self._under_way:
            await next(iter(self._under_way.values())).wait()

    async def leave_over(self) -> None:
        """Say of what is still under way that nobody makes it."""
        left = list(self._under_way)
        self._backlog.clear()
        await self._give_up(left)
        self._done(left)

    # ------------------------------------------------------------ comparing

    async def ancestors(self, parent: TaskId, levels: int) -> Sequence[Ancestor]:
        """Return the ancestors once none of their vectors is on its way, or time is up.

        Raises:
            NotFoundError: no such parent.
        """
        deadline = anyio.current_time() + self._timing.wait_s
        while True:
            found = await self._stores.ask(
                lambda stores: stores.drift.ancestors(
                    parent, levels=levels, model=self._embedder.name, limit=MAX_ANCESTORS
                )
            )
            left = deadline - anyio.current_time()
            awaited = [one for one in found if self._is_awaited(one)]
            if left <= 0 or not awaited:
                return found
            event = self._under_way.get(awaited[0].task_id, anyio.Event())
            # Another process's are looked for again and again.
            pause = left if awaited[0].task_id in self._under_way else self._timing.poll_s
            with anyio.move_on_after(min(left, pause)):
                await event.wait()

    async def compare(self, text: str, ancestors: Sequence[Ancestor]) -> Similarity | None:
        """Return the ancestor most like `text`, making what vectors are missing.

        Raises:
            ProviderError: the embedder cannot be asked, or its vectors are of different lengths.
            TimeoutError: it took too long.
        """
        missing = [one for one in ancestors if self._is_missing(one)]
        texts = [_cut(one.input) for one in missing]
        own, *made = await self._embed([_cut(text), *texts])
        late = {one.task_id: vector for one, vector in zip(missing, made, strict=True)}
        if late:
            await self._save(list(late.items()))
        complete = [replace(one, vector=late.get(one.task_id, one.vector)) for one in ancestors]
        return await to_thread.run_sync(partial(most_similar, own, complete))

    # ------------------------------------------------------------ internals

    def _is_awaited(self, ancestor: Ancestor) -> bool:
        if ancestor.state != "pending":
            return False
        if ancestor.task_id in self._under_way:
            return True
        # Another process's: if that died, nobody will ever bring the vector.
        age_ms = self._clock.now_ms() - (ancestor.marked_at or 0)
        return age_ms < self._timing.wait_s * 1_000

    def _is_missing(self, ancestor: Ancestor) -> bool:
        if not (ancestor.input or "").strip():
            return False
        size = self._embedder.dimensions
        vector = ancestor.vector
        return vector is None or (size is not None and len(vector) != size * _FLOAT_BYTES)

    async def _embed(self, texts: Sequence[str]) -> list[bytes]:
        """Return a vector for each text; those made lately are not made again."""
        known = {text: self._recent[text] for text in texts if text in self._recent}
        wanted = [text for text in dict.fromkeys(texts) if text not in known]
        with anyio.fail_after(self._timing.embed_s):
            for start in range(0, len(wanted), _BATCH):
                batch = wanted[start : start + _BATCH]
                rows = await self._embedder.embed(batch)
                size = self._embedder.dimensions
                made = await to_thread.run_sync(partial(to_bytes, rows, len(batch), size))
                known.update(zip(batch, made, strict=True))
        for text in texts:
            self._recent[text] = known[text]
            self._recent.move_to_end(text)
        while len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
        return [known[text] for text in texts]

    async def _make(self, inputs: dict[TaskId, str]) -> None:
        try:
            made = await self._embed(list(inputs.values()))
            await self._save(list(zip(inputs, made, strict=True)))
        except (PerstackError, TimeoutError) as error:
            _LOG.warning("%d tasks have no vector yet: %s", len(inputs), error)
            await self._give_up(list(inputs))
        finally:
            self._done(list(inputs))

    async def _save(self, vectors: Sequence[tuple[TaskId, bytes]]) -> None:
        model, now = self._embedder.name, self._clock.now_ms()
        await self._stores.ask(lambda stores: stores.drift.save(vectors, model=model, now_ms=now))

    async def _give_up(self, task_ids: Sequence[TaskId]) -> None:
        if not task_ids:
            return
        model = self._embedder.name
        try:
            await self._stores.ask(lambda stores: stores.drift.give_up(task_ids, model=model))
        except PerstackError as error:
            _LOG.warning("the marks of %d tasks stay: %s", len(task_ids), error)

    def _done(self, task_ids: Sequence[TaskId]) -> None:
        for one in task_ids:
            event = self._under_way.pop(one, None)
            if event is not None:
                event.set()


def _cut(text: str | None) -> str:
    return (text or "")[:MAX_EMBEDDED_CHARS]

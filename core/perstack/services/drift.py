"""Drift detection: does a new task repeat one of those it descends from?

Ancestors, the direct parent first, are compared by vectors of their inputs. A child never misses
its parent, however fast it follows (`services/task_vectors.py`), and what could not be compared is
said to be pending, never to be fine.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio

from perstack.domain.coordination import DriftSettings
from perstack.domain.drift import (
    DriftCheck,
    DriftConfig,
    DriftEvent,
    DriftReport,
    DriftResult,
    action_for,
    unjudged,
)
from perstack.domain.ids import TaskId
from perstack.errors import NotFoundError, ProviderError, StorageError
from perstack.ports.embeddings import Embedder
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.ports.tasks import Ancestor, Mark
from perstack.services.bounds import check_text
from perstack.services.handle import Handle
from perstack.services.task_vectors import TaskVectors, Timing
from perstack.services.vectors import Similarity

SHOWN_EVENTS: Final = 10
MAX_INPUT_CHARS: Final = 1_000_000
_MAX_TYPE_CHARS: Final = 200
_LOG: Final = logging.getLogger(__name__)


class DriftDetector:
    """Judges tasks, and has vectors made of new ones; `open` gives one.

    Without an `embedder`, or disabled, it is inactive: nothing is asked, and results say so.
    `redact` takes secrets out of what is judged, before it is embedded or written down.
    """

    def __init__(
        self,
        stores: Handle[Stores],
        settings: DriftSettings,
        embedder: Embedder | None,
        *,
        clock: Clock,
        ids: Ids,
        timing: Timing | None = None,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._stores = stores
        self._settings = settings
        self._clock = clock
        self._ids = ids
        self._redact = redact
        self._embedder = embedder
        self._vectors: TaskVectors | None = None
        if settings.enabled and embedder is not None:
            timing = timing or Timing()
            self._vectors = TaskVectors(stores, embedder, clock=clock, timing=timing)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        stores: Handle[Stores],
        settings: DriftSettings,
        embedder: Embedder | None,
        *,
        clock: Clock,
        ids: Ids,
        timing: Timing | None = None,
        redact: Callable[[str], str] = str,
    ) -> AsyncGenerator[DriftDetector]:
        """Give a detector whose vectors are made in the background while the context is open.

        At its end what is under way gets `timing.close_s` seconds; what is left over is made when
        it is needed.
        """
        timing = timing or Timing()
        detector = cls(
            stores, settings, embedder, clock=clock, ids=ids, timing=timing, redact=redact
        )
        vectors = detector._vectors
        if vectors is None:
            yield detector
            return
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(vectors.work)
            try:
                yield detector
            except Exception as error:  # noqa: BLE001  raised again, outside of the group
                failure = error
            finally:
                with anyio.move_on_after(timing.close_s, shield=True):
                    await vectors.settled()
                group.cancel_scope.cancel()
                with anyio.move_on_after(timing.close_s, shield=True):
                    await vectors.leave_over()
        if failure is not None:
            raise failure

    @property
    def active(self) -> bool:
        """Whether anything is judged at all."""
        return self._vectors is not None

    @property
    def config(self) -> DriftConfig:
        """The settings as front doors show them."""
        return DriftConfig(
            **self._settings.model_dump(by_alias=False),
            active=self.active,
            embedder=None if self._embedder is None else self._embedder.name,
        )

    # -------------------------------------------------------------- judging

    async def check(self, task_input: str | None, parent_task_id: TaskId | None) -> DriftResult:
        """Compare an input with the parent's and those of what is above it. Writes no event.

        Raises:
            NotFoundError: no such parent.
            StorageError: the tables cannot be read.
        """
        vectors = self._vectors
        if vectors is None:
            why = "no embedder is there" if self._settings.enabled else "drift detection is off"
            return DriftResult(verdict="inactive", reason=why)
        if parent_task_id is None or task_input is None or not task_input.strip():
            return DriftResult(verdict="inactive", reason="there is nothing to compare")
        ancestors = await vectors.ancestors(parent_task_id, self._settings.ancestor_depth)
        try:
            found = await vectors.compare(task_input, ancestors)
        except (ProviderError, TimeoutError) as error:
            why = error.message if isinstance(error, ProviderError) else "the embedder is too slow"
            _LOG.warning("drift could not be judged: %s", why)
            return unjudged(why, len(ancestors), self._settings)
        return self._result(found, len(ancestors))

    async def judge(
        self,
        parent_task_id: TaskId,
        agent_type: str,
        task_input: str,
        *,
        task_id: TaskId | None = None,
    ) -> DriftResult:
        """Check, and write down that it was, as far as that is possible. Never raises.

        An unknown parent is "pending", and so are tables that cannot be asked: where drift is to be
        prevented, nothing begins that was not compared.
        """
        agent_type, task_input = self._redact(agent_type), self._redact(task_input)
        try:
            result = await self.check(task_input, parent_task_id)
        except (NotFoundError, StorageError) as error:
            result = unjudged(error.message, 0, self._settings)
        try:
            await self.log(result, agent_type, task_input, task_id)
        except StorageError as error:
            _LOG.warning("a check for drift is not on record: %s", error.message)
        return result

    async def preview(
        self, task_input: str, agent_type: str, parent_task_id: TaskId | None = None
    ) -> DriftCheck:
        """Return what would be found, in the seed's shape; the check is written down.

        Raises:
            UsageError: the input or the type is empty.
            NotFoundError: no such parent.
        """
        check_text(task_input, "taskInput", shortest=1, longest=MAX_INPUT_CHARS)
        check_text(agent_type, "taskType", shortest=1, longest=_MAX_TYPE_CHARS)
        agent_type, task_input = self._redact(agent_type), self._redact(task_input)
        result = await self.check(task_input, parent_task_id)
        await self.log(result, agent_type, task_input, None)
        return DriftCheck(result=result, config=self.config)

    async def log(
        self, result: DriftResult, agent_type: str, task_input: str | None, task_id: TaskId | None
    ) -> None:
        """Write down a check, if there was anything to judge."""
        event = self.event(result, agent_type, task_input, task_id)
        if event is not None:
            await self._stores.ask(lambda stores: stores.drift.log(event))

    def event(
        self, result: DriftResult, agent_type: str, task_input: str | None, task_id: TaskId | None
    ) -> DriftEvent | None:
        """Return what is to be written down of a check, None when there was nothing to judge."""
        if result.verdict == "inactive":
            return None
        compared = result.most_similar_task_id is not None
        return DriftEvent(
            id=self._ids.new(),
            task_id=task_id,
            task_type=agent_type,
            ancestor_task_id=result.most_similar_task_id,
            similarity_score=result.highest_similarity if compared else None,
            threshold=self._settings.threshold,
            action_taken=result.action,
            verdict=result.verdict,
            reason=result.reason,
            task_input=task_input,
            created_at=self._clock.now_ms(),
        )

    async def report(self, *, since_ms: int = 0) -> DriftReport:
        """Return figures over the checks since then (Unix ms), and the latest ten of all."""
        metrics = await self._stores.ask(lambda stores: stores.drift.metrics(since_ms=since_ms))
        events = await self._stores.ask(lambda stores: stores.drift.events(limit=SHOWN_EVENTS))
        return DriftReport(metrics=metrics, recent_events=tuple(events), config=self.config)

    # ------------------------------------------------------------- indexing

    def mark(self, task_input: str | None) -> Mark | None:
        """Return what to write of a new task's vector: itself if the check has made it already."""
        return None if self._vectors is None else self._vectors.mark(task_input)

    async def index(
        self, task_id: TaskId, task_input: str | None, mark: Mark | None, *, later: bool = False
    ) -> None:
        """Have the vector of a task made that was written with `mark`: now or in the background.

        `later`: in the background, whatever the settings say.
        """
        if self._vectors is None or mark is None or mark.vector is not None:
            return
        if later or self._settings.async_embedding:
            await self._vectors.make_later(task_id, task_input or "")
        else:
            await self._vectors.make(task_id, task_input or "")

    async def settled(self) -> None:
        """Return once no vector of this process is on its way."""
        if self._vectors is not None:
            await self._vectors.settled()

    # ------------------------------------------------------------ internals

    def _result(self, found: Similarity | None, ancestors: int) -> DriftResult:
        if found is None:
            why = "no ancestor has an input to compare"
            return DriftResult(checked_ancestors=ancestors, reason=why)
        nearest: Ancestor = found.ancestor
        return DriftResult(
            is_drift=found.cosine >= self._settings.threshold,
            highest_similarity=found.cosine,
            most_similar_task_id=nearest.task_id,
            most_similar_task_input=nearest.input,
            action=action_for(found.cosine, self._settings),
            checked_ancestors=ancestors,
        )

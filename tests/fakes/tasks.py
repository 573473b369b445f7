"""What the tests of tasks share: tasks, an embedder without a model, services over a database."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import numpy as np
from anyio import to_thread
from numpy.typing import NDArray
from pydantic import JsonValue

from perstack.domain.consensus import ConsensusCheck, ConsensusCheckpoint
from perstack.domain.coordination import DispatcherSettings, DriftSettings
from perstack.domain.ids import AgentId, ConsensusId, ExpertKey, SessionId, TaskId
from perstack.domain.settings import RiskLevel
from perstack.domain.tasks import Task
from perstack.errors import ProviderError
from perstack.ports.embeddings import Embedder
from perstack.ports.experts import ExpertRunner
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.ports.tasks import TaskConsensus, TaskProposal
from perstack.services.dispatch import SmartDispatcher
from perstack.services.drift import DriftDetector
from perstack.services.handle import Handle
from perstack.services.task_creation import Known
from perstack.services.task_queue import TaskQueue
from perstack.services.task_vectors import Timing
from perstack.services.tasks import TaskService
from perstack.storage.database.engine import connect
from perstack.storage.database.opener import open_stores
from perstack.storage.database.task_tables import (
    DRIFT_EVENTS,
    EMBEDDINGS,
    QUEUE,
    RELATIONSHIPS,
    TASKS,
)
from tests.fakes.consensus import NOW_MS, SetClock

DIMENSIONS = 64
KNOWN_SESSION = SessionId("11111111-1111-4111-8111-111111111111")
KNOWN_AGENT = AgentId("22222222-2222-4222-8222-222222222222")


def make_task(
    name: str = "t1",
    *,
    agent_type: str = "coder",
    text: str | None = "write the parser",
    parent: str | None = None,
    session: str | None = None,
    created_at: int = NOW_MS,
) -> Task:
    return Task(
        id=TaskId(name),
        agent_type=agent_type,
        input=text,
        parent_task_id=None if parent is None else TaskId(parent),
        session_id=None if session is None else SessionId(session),
        created_at=created_at,
    )


class FakeEmbedder:
    """Counts words into a vector, so that texts are as alike as the words they share.

    A text in `angles` instead has that cosine with the text "base". `fails` makes every call fail;
    while `gate` is not set, calls wait for it.
    """

    def __init__(self, *, name: str = "fake:words", angles: Mapping[str, float] | None = None):
        self._name = name
        self._angles = {"base": 1.0, **(angles or {})}
        self.asked: list[str] = []
        self.fails = False
        self.gate = anyio.Event()
        self.gate.set()
        self.waiting = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def dimensions(self) -> int | None:
        return DIMENSIONS

    def close_gate(self) -> None:
        self.gate = anyio.Event()

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        if self.fails:
            raise ProviderError("the embedder is down")
        return np.stack([self._vector(text) for text in texts])

    async def aclose(self) -> None:
        """Nothing is held."""

    def _vector(self, text: str) -> NDArray[np.float32]:
        found = np.zeros(DIMENSIONS, dtype=np.float32)
        if text in self._angles:
            cosine = self._angles[text]
            found[0], found[1] = cosine, (1 - cosine * cosine) ** 0.5
            return found
        for word in text.lower().split():
            found[2 + zlib.crc32(word.encode("utf-8", "surrogatepass")) % (DIMENSIONS - 2)] += 1
        return found / max(float(np.linalg.norm(found)), 1e-9)


class FakeConsensus:
    """Demands consensus for tasks with a parent and of a risk in `gated`."""

    def __init__(self, *, gated: Sequence[RiskLevel] = ("high",), estimate: RiskLevel = "low"):
        self._gated = gated
        self._estimate: RiskLevel = estimate
        self.proposed: list[TaskProposal] = []

    async def check(
        self,
        agent_type: str,
        task_input: str | None,
        parent_task_id: TaskId | None,
        risk_level: RiskLevel | None,
        /,
    ) -> ConsensusCheck:
        risk = risk_level or self._estimate
        required = parent_task_id is not None and risk in self._gated
        verb = "requires" if required else "does not require"
        return ConsensusCheck(
            requires_consensus=required,
            reason=f"Risk level '{risk}' {verb} consensus",
            risk_level=risk,
            depth=0 if parent_task_id is None else 1,
        )

    async def propose_task(self, proposal: TaskProposal, /) -> ConsensusCheckpoint:
        self.proposed.append(proposal)
        return ConsensusCheckpoint(
            id=ConsensusId("k1"),
            expert_key=ExpertKey(proposal.agent_type),
            task_id="the-id-to-be",
            reason=proposal.reason,
            proposed_subtasks=(),
            risk_level=proposal.risk_level,
            created_at=NOW_MS,
            expires_at=NOW_MS + 300_000,
        )


@dataclass
class Heard:
    """What was announced, in order."""

    events: list[tuple[str, Mapping[str, JsonValue]]] = field(
        default_factory=list[tuple[str, Mapping[str, JsonValue]]]
    )

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    async def emit(self, event: str, payload: Mapping[str, JsonValue]) -> None:
        self.events.append((event, payload))


@dataclass
class Desk:
    """The services of tasks over one database."""

    handle: Handle[Stores]
    clock: SetClock
    heard: Heard
    queue: TaskQueue
    drift: DriftDetector
    dispatcher: SmartDispatcher
    tasks: TaskService


async def open_emptied(target: Path | str) -> Stores:
    """Open stores whose tables of tasks are empty: a new database costs half a second."""
    await to_thread.run_sync(_empty, target)
    return await open_stores(target, clock=SetClock(), ids=Uuids())


def _empty(target: Path | str) -> None:
    connected = connect(target, busy_s=5)
    with connected.engine.execution_options(write=True).begin() as connection:
        for table in (QUEUE, EMBEDDINGS, RELATIONSHIPS, DRIFT_EVENTS):
            connection.execute(table.delete())
        connection.execute(TASKS.update().values(parent_task_id=None))
        connection.execute(TASKS.delete())
    connected.engine.dispose()


def stores_at(target: Path | str, clock: SetClock) -> Handle[Stores]:
    return Handle(lambda: open_stores(target, clock=clock, ids=Uuids()))


def knows(one: str) -> Callable[[str], Awaitable[bool]]:
    async def known(asked: str) -> bool:
        return asked == one

    return known


@asynccontextmanager
async def open_desk(
    target: Path | str,
    *,
    drift: DriftSettings | None = None,
    embedder: Embedder | None = None,
    runner: ExpertRunner | None = None,
    dispatcher: DispatcherSettings | None = None,
    consensus: TaskConsensus | None = None,
    clock: SetClock | None = None,
    timing: Timing | None = None,
) -> AsyncGenerator[Desk]:
    """Open everything as the runtime does."""
    clock = clock or SetClock()
    heard = Heard()
    async with AsyncExitStack() as stack:
        handle = stores_at(target, clock)
        stack.push_async_callback(handle.aclose)
        detector = await stack.enter_async_context(
            DriftDetector.open(
                handle,
                drift or DriftSettings(),
                embedder,
                clock=clock,
                ids=Uuids(),
                timing=timing,
            )
        )
        queue = TaskQueue(handle, clock=clock, emit=heard.emit)
        smart = SmartDispatcher(runner, dispatcher or DispatcherSettings(), clock=clock)
        tasks = TaskService(
            handle,
            clock=clock,
            ids=Uuids(),
            queue=queue,
            drift=detector,
            dispatcher=smart,
            known=Known(session=knows(KNOWN_SESSION), agent=knows(KNOWN_AGENT)),
            consensus=consensus,
        )
        yield Desk(handle, clock, heard, queue, detector, smart, tasks)

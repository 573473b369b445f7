"""The memory of runs on a real database: what one keeps and another finds."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import pytest

from perstack.domain.coordination import MemorySettings, VectorSearchSettings
from perstack.domain.expert import MEMORY_SKILL, MemorySkill
from perstack.domain.ids import AgentId, ExpertKey, JobId, RunId, SessionId
from perstack.embeddings.opener import open_embedder
from perstack.errors import DeniedError
from perstack.ports.embeddings import Embedder
from perstack.ports.memory import MemoryStore
from perstack.ports.recall import Recall
from perstack.ports.skills import RunContext
from perstack.ports.system import SystemClock, Uuids
from perstack.services.handle import Handle
from perstack.services.memory import MemoryService
from perstack.services.recall import recall_of
from perstack.skills.opener import Skills
from perstack.storage.database.opener import open_memory_store
from tests.unit.skills.support import Notices, expert_with, failure, result

pytestmark = pytest.mark.anyio

SETTINGS = MemorySettings(vector_search=VectorSearchSettings(enabled=True, provider="hashed"))


async def embedder() -> Embedder | None:
    return open_embedder(SETTINGS.vector_search, {})


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncGenerator[MemoryService]:
    stores: Handle[MemoryStore] = Handle(
        partial(open_memory_store, tmp_path / "perstack.db", clock=SystemClock(), ids=Uuids())
    )
    yield MemoryService(stores, settings=SETTINGS, open_embedder=embedder)
    await stores.aclose()


def context(
    run: str, *, session: str | None = None, agent: str | None = None, folder: Path | None = None
) -> RunContext:
    return RunContext(
        job_id=JobId("j"),
        run_id=RunId(run),
        workspace=folder or Path("/"),
        env={},
        session_id=SessionId(session) if session else None,
        agent_id=AgentId(agent) if agent else None,
    )


def of(memory: MemoryService, given: RunContext, key: str = "writer") -> Recall:
    expert = expert_with().model_copy(update={"key": ExpertKey(key)})
    return recall_of(memory)(expert, given)


async def keep(recall: Recall, key: str, content: str, *, private: bool = False) -> None:
    await recall.store(key, content, namespace=None, tags=None, private=private)


async def test_a_later_run_finds_what_an_earlier_one_kept_and_who_it_was(
    memory: MemoryService,
) -> None:
    await keep(of(memory, context("r1")), "style", "Write unit tests for the payment service")
    later = of(memory, context("r2"), "reviewer")
    answer = await later.search("writing unit test for payment services", namespace=None, limit=5)
    (hit,) = answer.results
    assert (hit.entry.key, hit.match_type, answer.embedder) == (
        "style",
        "hybrid",
        "hashed:words-512-1",
    )
    origin = hit.entry.origin
    assert (origin.kind, origin.name, origin.run_id) == ("agent", "writer", "r1")


async def test_what_is_private_is_the_agents_alone(memory: MemoryService) -> None:
    await keep(of(memory, context("r1", agent="a1")), "k", "mine", private=True)
    assert await of(memory, context("r2")).find("k", namespace=None) is None
    again = await of(memory, context("r3", agent="a1")).find("k", namespace=None)
    assert again is not None
    other = of(memory, context("r2"))
    assert not await other.delete("k", namespace=None)
    with pytest.raises(DeniedError):
        await keep(other, "k", "theirs")


async def test_a_session_keeps_to_itself(memory: MemoryService) -> None:
    await keep(of(memory, context("r1", session="A")), "k", "of session A")
    same = await of(memory, context("r2", session="A")).find("k", namespace=None)
    assert same is not None
    assert same.namespace == "session:A"
    for stranger in (context("r3", session="B"), context("r4")):
        theirs = of(memory, stranger)
        assert await theirs.find("k", namespace=None) is None
        with pytest.raises(DeniedError, match="Access denied: cannot read memory in session A"):
            await theirs.find("k", namespace="session:A")


async def test_the_skill_works_on_it(memory: MemoryService, tmp_path: Path) -> None:
    expert = expert_with(**{MEMORY_SKILL: MemorySkill(namespace="team")})
    skills = Skills(recall=recall_of(memory))
    async with skills.open(expert, context("r1", folder=tmp_path), Notices()) as tools:
        await tools.call("storeMemory", {"key": "k", "content": "C++ is used", "tags": ["lang"]})
        bad = await tools.call("storeMemory", {"key": "k", "content": "x", "tags": ["a b"]})
        assert "Tag name can only contain" in str(failure(bad)["message"])
    async with skills.open(expert, context("r2", folder=tmp_path), Notices()) as tools:
        found = result(await tools.call("searchMemory", {"query": "C++"}))
        assert found["count"] == 1
        assert "Expert tester, run r1" in str(found["results"])
        assert result(await tools.call("listMemory", {"tags": ["lang"]}))["total"] == 1
        assert result(await tools.call("deleteMemory", {"key": "k"}))["success"] is True

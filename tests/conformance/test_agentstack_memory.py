"""AgentStack's memory, row by row of its conformance table, over the service that doors call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import anyio
import pytest

from perstack.domain.coordination import MemorySettings
from perstack.domain.ids import AgentId, MemoryId, SessionId
from perstack.domain.memory import Caller, MemoryAnswer
from perstack.errors import ConflictError, DeniedError, NotFoundError, UsageError
from perstack.ports.memory import MemoryStore
from perstack.ports.system import Uuids
from perstack.services.handle import Handle
from perstack.services.memory import MemoryService
from perstack.storage.database.opener import open_memory_store
from tests.fakes.consensus import SetClock
from tests.fakes.memory import ANA, LateEmbedder, WordEmbedder, agent, visitor

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
async def handle(tmp_path: Path, clock: SetClock) -> AsyncGenerator[Handle[MemoryStore]]:
    path = tmp_path / "perstack" / "perstack.db"
    opened = Handle(lambda: open_memory_store(path, clock=clock, ids=Uuids()))
    yield opened
    await opened.aclose()


@pytest.fixture
def memory(handle: Handle[MemoryStore]) -> MemoryService:
    """Give the service with vector search off."""
    return MemoryService(handle, settings=MemorySettings())


@pytest.fixture
def alike(handle: Handle[MemoryStore], embedder: WordEmbedder) -> MemoryService:
    """Give the service with vector search on."""
    return MemoryService(handle, settings=MemorySettings(), open_embedder=embedder.open)


def keys(answer: MemoryAnswer) -> Sequence[str]:
    return [hit.entry.key for hit in answer.results]


async def kept(memory: MemoryService, key: str, content: str = "apple") -> MemoryId:
    return (await memory.store(ANA, key, content)).entry.id


async def test_agentstack_rows_39_and_40_storing_again_replaces_and_keeps_a_version(
    memory: MemoryService, clock: SetClock
) -> None:
    first = (await memory.store(ANA, "k", "old")).entry
    clock.move(9)
    second = (await memory.store(ANA, "k", "new")).entry
    assert (second.id, second.content, second.created_at) == (first.id, "new", first.created_at)
    assert second.updated_at == first.updated_at + 9
    versions = await memory.versions(ANA, first.id)
    assert [(one.version, one.content) for one in versions] == [(1, "old")]


async def test_agentstack_row_41_restoring_keeps_the_present_and_renews_the_vector(
    alike: MemoryService,
) -> None:
    first = await kept(alike, "k", "red apple")
    await kept(alike, "k", "green pear")
    restored = await alike.restore(ANA, first, 1)
    assert (restored.entry.content, restored.entry.version) == ("red apple", 2)
    assert [one.content for one in await alike.versions(ANA, first)] == ["green pear", "red apple"]
    assert (await alike.search(ANA, "red apple")).results[0].similarity == pytest.approx(
        1, abs=0.01
    )
    with pytest.raises(NotFoundError):
        await alike.restore(ANA, first, 7)


async def test_agentstack_row_42_a_key_in_two_namespaces_is_two_entries(
    memory: MemoryService,
) -> None:
    one = (await memory.store(ANA, "k", "x")).entry
    other = (await memory.store(ANA, "k", "y", namespace="other")).entry
    assert (one.namespace, other.namespace) == ("default", "other")
    assert one.id != other.id


@pytest.mark.parametrize(
    ("key", "content", "namespace"),
    [
        ("x" * 501, "c", "n"),
        ("", "c", "n"),
        ("k", "", "n"),
        ("k", "x" * 1_000_001, "n"),
        ("k", "c", ""),
        ("k", "c", "n" * 101),
        ("k", "c", "session:"),
    ],
)
async def test_agentstack_row_43_what_is_too_long_or_empty_is_refused(
    memory: MemoryService, key: str, content: str, namespace: str
) -> None:
    with pytest.raises(UsageError, match=r"cannot be empty|characters or less"):
        await memory.store(ANA, key, content, namespace=namespace)


async def test_agentstack_row_43_the_bounds_of_searches_and_lists(memory: MemoryService) -> None:
    for limit in (0, 101):
        with pytest.raises(UsageError, match="limit must be between 1 and 100"):
            await memory.search(ANA, "x", limit=limit)
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="threshold must be between"):
            await memory.search(ANA, "x", threshold=threshold)
    with pytest.raises(UsageError, match="query must be 1000 characters or less"):
        await memory.search(ANA, "x" * 1_001)
    with pytest.raises(UsageError, match="limit must be between 1 and 1000"):
        await memory.list(ANA, limit=1_001)
    with pytest.raises(UsageError, match="offset"):
        await memory.list(ANA, offset=-1)
    with pytest.raises(UsageError, match="metadata"):
        await memory.store(ANA, "k", "x", metadata={"a": float("inf")})


async def test_agentstack_rows_44_and_45_a_page_has_previews_and_the_true_total(
    memory: MemoryService, clock: SetClock
) -> None:
    for n, length in enumerate((200, 250, 10)):
        clock.move(1)
        await memory.store(ANA, f"k{n}", "x" * length)
    page = await memory.list(ANA, limit=2, offset=1)
    assert (page.total, page.count, page.offset) == (3, 2, 1)
    assert [one.key for one in page.entries] == ["k1", "k0"]
    assert [one.content_preview for one in page.entries] == ["x" * 200 + "...", "x" * 200]


async def test_agentstack_row_46_deleting_what_is_not_there_says_so(memory: MemoryService) -> None:
    assert not await memory.delete(ANA, "none")


async def test_agentstack_row_47_any_text_can_be_searched_for(memory: MemoryService) -> None:
    for query in ("error-handling", "what's up?", "user.name", "C++"):
        await kept(memory, query, f"about {query} here")
    for query in ("error-handling", "what's up?", "user.name", "C++"):
        assert keys(await memory.search(ANA, query)) == [query]
    assert keys(await memory.search(ANA, "")) == []


async def test_agentstack_row_48_the_better_hit_is_first_with_the_higher_score(
    memory: MemoryService,
) -> None:
    await kept(memory, "worse", "a deployment " + "among many other words " * 20)
    await kept(memory, "better", "deployment deployment deployment")
    hits = (await memory.search(ANA, "deployment")).results
    assert [hit.entry.key for hit in hits] == ["better", "worse"]
    assert hits[0].score > hits[1].score


async def test_agentstack_row_49_words_match_by_their_stem(memory: MemoryService) -> None:
    await kept(memory, "k", "it is running")
    assert keys(await memory.search(ANA, "run")) == ["k"]


async def test_agentstack_row_50_without_vectors_nothing_is_embedded(
    memory: MemoryService, alike: MemoryService, embedder: WordEmbedder
) -> None:
    await alike.store(ANA, "k", "apple", generate_embedding=False)
    answer = await alike.search(ANA, "apple", use_vector=False)
    assert [hit.match_type for hit in answer.results] == ["fts"]
    assert (await memory.search(ANA, "apple")).results[0].match_type == "fts"
    assert embedder.asked == []


async def test_agentstack_row_51_vector_and_text_hits_are_one_list_without_duplicates(
    alike: MemoryService, embedder: WordEmbedder
) -> None:
    await kept(alike, "meant", "big red apple")
    await alike.store(ANA, "named", "apple big red " + "and more " * 50, generate_embedding=False)
    for n in range(3):
        await alike.store(ANA, f"x{n}", f"apple {n}", generate_embedding=False)
    answer = await alike.search(ANA, "big red apple")
    assert (answer.embedder, answer.warning) == (embedder.name, None)
    assert [(hit.entry.key, hit.match_type) for hit in answer.results] == [
        ("meant", "hybrid"),
        ("named", "fts"),
    ]
    assert 1 >= answer.results[0].score > answer.results[1].score > 0
    assert answer.count == len({hit.entry.id for hit in answer.results})
    assert len((await alike.search(ANA, "big red apple", limit=1)).results) == 1


async def test_agentstack_row_51_of_equal_hits_the_vectors_is_first(alike: MemoryService) -> None:
    await alike.store(ANA, "named", "zebra", generate_embedding=False)
    await kept(alike, "meant", "zebra-like")
    embed = "zebra"
    await alike.store(ANA, "meant", "zebra zebra", generate_embedding=True)
    answer = await alike.search(ANA, embed, limit=2)
    assert keys(answer) == ["meant", "named"]


async def test_agentstack_row_52_without_its_embedder_memory_goes_on(
    alike: MemoryService, embedder: WordEmbedder
) -> None:
    embedder.down = True
    stored = await alike.store(ANA, "k", "apple")
    assert stored.entry.embedder is None
    assert stored.warning == "no vectors now: the embedder is down"
    answer = await alike.search(ANA, "apple")
    assert [hit.match_type for hit in answer.results] == ["fts"]
    assert (answer.embedder, answer.warning) == (None, "no vectors now: the embedder is down")
    assert (await alike.index.stats(ANA)).coverage == 0
    embedder.down = False
    stats = await alike.index.reindex(ANA)
    assert (stats.total, stats.indexed, stats.coverage, stats.embedder) == (
        1,
        1,
        100,
        embedder.name,
    )
    assert (await alike.search(ANA, "apple")).results[0].match_type == "hybrid"


async def test_vectors_of_a_model_that_is_another_one_under_its_old_name_are_made_anew(
    alike: MemoryService, handle: Handle[MemoryStore]
) -> None:
    await kept(alike, "k", "apple")
    another = LateEmbedder("fake:words", 32)
    service = MemoryService(handle, settings=MemorySettings(), open_embedder=another.open)
    # Nothing was asked of it yet, so that nobody knows how long its vectors are.
    assert another.dimensions is None
    assert (await service.index.reindex(ANA)).indexed == 1
    assert [hit.match_type for hit in (await service.search(ANA, "apple")).results] == ["hybrid"]
    before = len(another.asked)
    assert (await service.index.reindex(ANA)).coverage == 100
    assert len(another.asked) == before
    assert (await alike.index.stats(ANA)).indexed == 0


async def test_agentstack_row_52_what_is_no_vector_is_not_kept(
    alike: MemoryService, embedder: WordEmbedder
) -> None:
    embedder.broken = True
    stored = await alike.store(ANA, "k", "apple")
    assert stored.entry.embedder is None
    assert stored.warning == "no vectors now: fake:words answered with something that is no vector"
    embedder.broken = False
    await kept(alike, "other", "pear")
    embedder.broken = True
    assert keys(await alike.search(ANA, "apple")) == ["k"]


async def test_a_vector_is_made_of_a_contents_beginning(
    alike: MemoryService, embedder: WordEmbedder
) -> None:
    await kept(alike, "k", "apple " * 10_000)
    assert [len(text) for text in embedder.asked] == [8_000]


async def test_agentstack_row_53_another_sessions_namespace_is_closed(
    memory: MemoryService,
) -> None:
    a, b = visitor("A"), visitor("B")
    await memory.store(b, "k", "secret")
    for caller, whose in (
        (a, "session A"),
        (agent("x", "A"), "session A"),
        (agent("x"), "no session"),
    ):
        with pytest.raises(DeniedError) as read:
            await memory.find(caller, "k", namespace="session:B")
        assert read.value.message == f"Access denied: cannot read memory in session B from {whose}"
        with pytest.raises(DeniedError) as written:
            await memory.store(caller, "k", "mine", namespace="session:B")
        assert "cannot write memory in session B" in written.value.message
        with pytest.raises(DeniedError) as deleted:
            await memory.delete(caller, "k", namespace="session:B")
        assert "cannot delete memory in session B" in deleted.value.message
        for look in (
            memory.search(caller, "secret", namespace="session:B"),
            memory.list(caller, namespace="session:B"),
            memory.suggest(caller, "k", namespace="session:B"),
            memory.has_term(caller, "secret", namespace="session:B"),
        ):
            with pytest.raises(DeniedError, match="cannot read memory in session B"):
                await look
        assert keys(await memory.search(caller, "secret", everywhere=True)) == []
    with pytest.raises(DeniedError):
        await memory.clear(a, "session:B")
    found = await memory.find(b, "k")
    assert found is not None
    assert found.content == "secret"


async def test_agentstack_row_54_and_fault_s16_another_sessions_entry_has_no_id(
    memory: MemoryService,
) -> None:
    theirs = (await memory.store(visitor("B"), "k", "secret")).entry.id
    for caller in (visitor("A"), agent("x", "A"), agent("x")):
        assert await memory.find_by_id(caller, theirs) is None
        assert not await memory.delete_by_id(caller, theirs)
        with pytest.raises(NotFoundError, match="Memory entry not found"):
            await memory.versions(caller, theirs)
        with pytest.raises(NotFoundError, match="Memory entry not found"):
            await memory.links.tag(caller, theirs, "mine")
    assert (await memory.find_by_id(ANA, theirs)) is not None


async def test_agentstack_row_55_a_session_works_in_its_own_namespace(
    memory: MemoryService,
) -> None:
    a = visitor("A")
    assert (await memory.store(a, "k", "apple")).entry.namespace == "session:A"
    await memory.store(ANA, "default", "apple")
    assert [one.key for one in (await memory.list(a)).entries] == ["k"]
    assert keys(await memory.search(a, "apple")) == ["k"]
    assert keys(await memory.search(ANA, "apple")) == ["default"]
    assert keys(await memory.search(a, "apple", everywhere=True)) == ["default", "k"]


async def test_agentstack_row_56_other_namespaces_are_open(memory: MemoryService) -> None:
    await memory.store(ANA, "k", "x", namespace="global")
    assert await memory.find(visitor("A"), "k", namespace="global") is not None
    assert await memory.find(agent("x", "A"), "k", namespace="global") is not None


async def test_agentstack_row_57_an_agent_sees_its_own_and_what_is_shared(
    memory: MemoryService,
) -> None:
    x, y = agent("x"), agent("y")
    await memory.store(x, "own", "apple")
    await memory.store(y, "theirs", "apple")
    await memory.store(y, "shared", "apple", shared=True)
    assert set(keys(await memory.search(x, "apple"))) == {"own", "shared"}
    assert keys(await memory.search(x, "apple", include_shared=False)) == ["own"]
    assert [one.key for one in (await memory.list(x, include_shared=False)).entries] == ["own"]
    assert (await memory.list(x)).total == 2
    assert set(keys(await memory.search(ANA, "apple", agent_id=AgentId("y")))) == {
        "theirs",
        "shared",
    }
    assert await memory.find(x, "theirs") is None
    with pytest.raises(DeniedError, match="cannot read memory of agent y from agent x"):
        await memory.search(x, "apple", agent_id=AgentId("y"))
    with pytest.raises(DeniedError, match="cannot write memory of agent y from agent x"):
        await memory.store(x, "k", "v", agent_id=AgentId("y"))


async def test_agentstack_row_57_an_agent_changes_only_its_own_and_what_is_shared(
    memory: MemoryService,
) -> None:
    x, y = agent("x"), agent("y")
    theirs = (await memory.store(y, "k", "mine")).entry.id
    with pytest.raises(DeniedError, match="belongs to another agent"):
        await memory.store(x, "k", "taken over")
    assert not await memory.delete(x, "k")
    assert not await memory.delete_by_id(x, theirs)
    with pytest.raises(DeniedError):
        await memory.clear(x, "default")
    with pytest.raises(DeniedError):
        await memory.index.reindex(x)
    found = await memory.find(y, "k")
    assert found is not None
    assert (found.content, found.agent_id, found.version) == ("mine", "y", 0)


async def test_agentstack_row_58_concurrent_callers_do_not_bleed(memory: MemoryService) -> None:
    async def work(name: str) -> None:
        for n in range(10):
            caller = agent(f"agent-{name}", name)
            entry = (await memory.store(caller, f"k{n}", f"apple of {name}")).entry
            assert (entry.namespace, entry.agent_id) == (f"session:{name}", f"agent-{name}")
            answer = await memory.search(caller, "apple")
            assert {hit.entry.namespace for hit in answer.results} == {f"session:{name}"}

    async with anyio.create_task_group() as group:
        for name in "abcdef":
            group.start_soon(work, name)
    assert (await memory.list(ANA, everywhere=True)).total == 60


async def test_agentstack_row_59_tags_are_trimmed_and_lower_case(memory: MemoryService) -> None:
    entry = await kept(memory, "k")
    for _ in range(2):
        assert (await memory.links.tag(ANA, entry, " Important ")).tags == ("important",)
    assert [(one.tag, one.count) for one in await memory.links.tags(ANA)] == [("important", 1)]


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("a b", "Tag name can only contain lowercase letters, numbers, hyphens, and underscores"),
        ("é", "Tag name can only contain lowercase letters, numbers, hyphens, and underscores"),
        ("a\n", ""),
        ("  ", "Tag name cannot be empty"),
        ("x" * 51, "Tag name must be 50 characters or less"),
    ],
)
async def test_agentstack_row_60_what_is_no_tag_is_refused(
    memory: MemoryService, tag: str, message: str
) -> None:
    entry = await kept(memory, "k")
    if not message:
        assert (await memory.links.tag(ANA, entry, tag)).tags == ("a",)
        return
    with pytest.raises(UsageError) as caught:
        await memory.links.tag(ANA, entry, tag)
    assert caught.value.message == message
    with pytest.raises(UsageError):
        await memory.store(ANA, "k", "x", tags=["ok", tag])


async def test_agentstack_row_61_a_search_by_tags_wants_all_of_them(memory: MemoryService) -> None:
    await memory.store(ANA, "both", "x", tags=["a", "b"])
    await memory.store(ANA, "one", "x", tags=["a"])
    assert [one.key for one in (await memory.list(ANA, tags=["a", "B"])).entries] == ["both"]


async def test_agentstack_row_62_relationships_that_cannot_be(memory: MemoryService) -> None:
    one, two = await kept(memory, "one"), await kept(memory, "two")
    link = await memory.links.relate(ANA, one, two, "supersedes", metadata={"why": "newer"})
    for error, ends, kind, message in (
        (UsageError, (one, one), "related_to", "Cannot create relationship to self"),
        (UsageError, (one, two), "likes", "Invalid relationship type: likes"),
        (NotFoundError, (one, MemoryId("nope")), "related_to", "Memory entry not found: nope"),
        (ConflictError, (one, two), "supersedes", "Relationship already exists"),
    ):
        with pytest.raises(error) as caught:
            await memory.links.relate(ANA, *ends, kind)
        assert caught.value.message == message
    assert await memory.links.related(ANA, two) == [link]
    assert await memory.links.unrelate(ANA, link.id)


async def test_agentstack_row_63_deleting_takes_tags_links_and_versions(
    memory: MemoryService,
) -> None:
    gone, other = await kept(memory, "gone"), await kept(memory, "other")
    await kept(memory, "gone", "changed")
    await memory.links.tag(ANA, gone, "t")
    await memory.links.relate(ANA, other, gone, "references")
    assert await memory.delete(ANA, "gone")
    assert await memory.links.tags(ANA) == []
    assert await memory.links.related(ANA, other) == []
    assert await memory.find_by_id(ANA, gone) is None
    again = await kept(memory, "gone")
    assert await memory.versions(ANA, again) == []


async def test_fault_s16_the_origin_of_a_content_is_shown(memory: MemoryService) -> None:
    await memory.store(ANA, "k", "deploy on Fridays never")
    poison = (await memory.store(agent("x", None), "k", "deploy on Fridays")).entry
    assert poison.agent_id is None
    assert poison.origin.model_dump(mode="json", exclude_none=True) == {
        "kind": "agent",
        "name": "researcher",
        "agentId": "x",
        "runId": "run-x",
    }
    hit = (await memory.search(ANA, "Fridays")).results[0]
    assert hit.entry.origin == poison.origin
    assert (await memory.list(ANA)).entries[0].origin == poison.origin
    old = (await memory.versions(ANA, poison.id))[0]
    assert (old.origin.kind, old.origin.name) == ("person", "ana@desk")
    assert (await memory.restore(ANA, poison.id, 1)).entry.origin == old.origin


async def test_what_a_session_kept_is_gone_with_it(memory: MemoryService) -> None:
    await memory.store(agent("x", "A"), "k", "apple")
    await memory.store(visitor("B"), "k", "apple")
    assert await memory.clear_session(SessionId("A")) == 1
    assert [one.namespace for one in await memory.index.namespaces(ANA)] == ["session:B"]


async def test_similar_entries_are_found_by_one_of_them(alike: MemoryService) -> None:
    one = await kept(alike, "one", "red apple pie")
    await kept(alike, "two", "red apple pie recipe")
    await kept(alike, "other", "green bicycle")
    assert keys(await alike.find_similar(ANA, one)) == ["two"]
    await alike.store(ANA, "bare", "x", generate_embedding=False)
    bare = await alike.find(ANA, "bare")
    assert bare is not None
    with pytest.raises(NotFoundError):
        await alike.find_similar(ANA, bare.id)


async def test_phrases_prefixes_suggestions_and_terms(memory: MemoryService) -> None:
    await kept(memory, "pattern-singleton", "one of its kind")
    assert keys(await memory.search(ANA, "kind its", mode="phrase")) == []
    assert keys(await memory.search(ANA, "its kin", mode="prefix")) == ["pattern-singleton"]
    assert await memory.suggest(ANA, "pat") == ["pattern-singleton"]
    assert await memory.has_term(ANA, "kind")
    assert not await memory.has_term(ANA, "cruel")


async def test_an_answer_has_the_shape_of_the_seed(memory: MemoryService) -> None:
    await kept(memory, "pattern-singleton", "Use singleton for config")
    answer = (await memory.search(ANA, "singleton")).model_dump(mode="json", exclude_none=True)
    assert answer["count"] == 1
    hit = answer["results"][0]
    assert set(hit) == {"entry", "score", "matchType", "textScore"}
    assert {"id", "key", "content", "namespace", "createdAt", "updatedAt"} <= set(hit["entry"])


async def test_reindexing_without_vectors_is_refused(memory: MemoryService) -> None:
    with pytest.raises(UsageError, match="vector search is off"):
        await memory.index.reindex(ANA)


async def test_a_caller_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        ANA.session_id = SessionId("B")  # type: ignore[misc]
    assert Caller("ana@desk") == ANA

"""The contract of `MemoryStore`, over every database that is at hand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa

from perstack.domain.ids import AgentId, MemoryId
from perstack.domain.memory import MemoryHit, Scope, SearchMode
from perstack.errors import ConflictError, DeniedError, NotFoundError
from perstack.ports.memory import Draft, Embedding, MemoryStore
from perstack.ports.system import Uuids
from perstack.storage.database.memory import text_index, vectors, writing
from perstack.storage.database.opener import open_memory_store
from tests.fakes.consensus import SetClock
from tests.fakes.memory import ANA, WordEmbedder
from tests.fakes.postgres import PostgresServer

pytestmark = pytest.mark.anyio

HERE = Scope(namespace="default")
WORDS = WordEmbedder()
WILD = [
    'say "hi', 'a"b OR c', 'x" OR "y',
    "foo-bar", "AND", "NOT x", "C++", "it's", "(", "*", "", " ", "\0", "\ud800", '"', "'; --",
    "key:value", "a NEAR b", "x" * 1_000, "(" * 1_000, "a " * 500, "-", "^a", "{a b}", "😀", "%",
    "what's up?", "user.name", "1e5", "\u0301", "NEAR(a b, 3)", "a*", "<->", "a & !b | c:*", "\\",
]  # fmt: skip


@pytest.fixture(scope="module")
def one_database(postgres: PostgresServer) -> str:
    """Give one database for all tests here: making one takes longer than a test."""
    return postgres.new_database()


@pytest.fixture(params=["sqlite", "postgres"])
def database_target(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Give an empty memory of each kind."""
    if request.param == "sqlite":
        return tmp_path / "perstack" / "perstack.db"
    url: str = request.getfixturevalue("one_database")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        if sa.inspect(connection).has_table("memory_entries"):
            connection.exec_driver_sql("TRUNCATE memory_entries, memory_removed CASCADE")
    engine.dispose()
    return url


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def store(database_target: Path | str, clock: SetClock) -> AsyncGenerator[MemoryStore]:
    opened = await open_memory_store(database_target, clock=clock, ids=Uuids())
    yield opened
    await opened.aclose()


def draft(
    key: str,
    content: str,
    *,
    namespace: str = "default",
    agent: str | None = None,
    tags: Sequence[str] | None = None,
    embedder: WordEmbedder | None = None,
) -> Draft:
    owner = None if agent is None else AgentId(agent)
    vector = None if embedder is None else Embedding(embedder.name, embedder.vector(content))
    return Draft(
        namespace, key, content, ANA.origin, tags=tags, actor=owner, owner=owner, embedding=vector
    )


async def put(store: MemoryStore, key: str, content: str, **more: object) -> MemoryId:
    entry, _ = await store.put(draft(key, content, **more))  # type: ignore[arg-type]
    return entry.id


async def found(
    store: MemoryStore, query: str, scope: Scope = HERE, mode: SearchMode = "words"
) -> list[str]:
    return [hit.entry.key for hit in await store.search_text(scope, query, limit=10, mode=mode)]


async def alike(store: MemoryStore, text: str, scope: Scope = HERE) -> Sequence[MemoryHit]:
    query = Embedding(WORDS.name, WORDS.vector(text))
    return await store.search_vectors(scope, query, limit=10, threshold=0.3)


async def test_what_was_stored_is_read_back(store: MemoryStore, clock: SetClock) -> None:
    made = Draft(
        "notes", "k", "text", ANA.origin, {"a": [1, None, "\ud800\0"]}, ("b", "a"), None, None
    )
    entry, created = await store.put(made)
    assert created
    assert (entry.key, entry.namespace, entry.content) == ("k", "notes", "text")
    assert entry.metadata == {"a": [1, None, "\ud800\0"]}
    assert (entry.tags, entry.version, entry.embedder) == (("a", "b"), 0, None)
    assert (entry.created_at, entry.origin.name) == (clock.now_ms(), "ana@desk")
    assert await store.find(Scope(namespace="notes"), "k") == entry
    assert await store.find_by_id(Scope(), entry.id) == entry
    assert await store.find(HERE, "k") is None


async def test_texts_that_no_database_takes_are_made_harmless(store: MemoryStore) -> None:
    entry, _ = await store.put(draft("k\0", "a\ud800b\0c"))
    assert entry.content.replace("\ufffd", "") == "abc"
    assert await store.find(HERE, "k\0") == entry
    assert await store.find_by_id(Scope(), MemoryId("\ud800\0' OR 1=1 --")) is None


async def test_storing_again_keeps_the_id_and_the_time_of_creation_and_a_version(
    store: MemoryStore, clock: SetClock
) -> None:
    first, _ = await store.put(draft("k", "old apples", tags=("x",)))
    clock.move(5)
    second, created = await store.put(draft("k", "new pears"))
    assert not created
    assert (second.id, second.created_at) == (first.id, first.created_at)
    assert (second.updated_at, second.version) == (first.updated_at + 5, 1)
    assert second.tags == ("x",)
    assert [(one.version, one.content) for one in await store.versions(Scope(), first.id)] == [
        (1, "old apples")
    ]
    assert await found(store, "apples") == []
    assert await found(store, "pears") == ["k"]


async def test_restoring_keeps_the_present_and_takes_a_new_vector(store: MemoryStore) -> None:
    first = await put(store, "k", "old apples", embedder=WORDS)
    await put(store, "k", "new pears", embedder=WORDS)
    vector = Embedding(WORDS.name, WORDS.vector("old apples"))
    restored = await store.restore(Scope(), first, 1, vector)
    assert (restored.content, restored.version) == ("old apples", 2)
    assert [one.content for one in await store.versions(Scope(), first)] == [
        "new pears",
        "old apples",
    ]
    assert [hit.entry.key for hit in await alike(store, "old apples")] == ["k"]
    assert await alike(store, "new pears") == []
    assert await found(store, "apples") == ["k"]
    with pytest.raises(NotFoundError, match="no version 9"):
        await store.restore(Scope(), first, 9, None)


async def test_fault_s14_any_text_is_a_literal_query(store: MemoryStore) -> None:
    await put(store, "k", "nothing of the kind")
    modes: tuple[SearchMode, ...] = ("words", "phrase", "prefix")
    for query in WILD:
        for mode in modes:
            hits = await store.search_text(HERE, query, limit=10, mode=mode)
            assert [hit.entry.key for hit in hits] in ([], ["k"])
        await store.suggest(HERE, query, limit=5)


LITERAL = {
    "error-handling": "how error-handling works",
    "what's up?": "what's up? not much",
    "user.name": "set user.name first",
    "C++": "written in C++",
    "run": "it was running",
    "café": "the CAFÉ opens",
    "cafe": "the café opens",
    "NOT": "do not do this",
    "snake_case": "a snake_case name",
    "3.14": "pi is 3.14",
    "Straße": "die Straße",
}


async def test_words_are_found_literally_and_by_their_stem(store: MemoryStore) -> None:
    await put(store, "other", "unrelated matter")
    for query, content in LITERAL.items():
        await put(store, "k", content)
        assert await found(store, query) == ["k"], query


async def test_all_words_are_wanted_and_any_of_them_when_no_entry_has_all(
    store: MemoryStore,
) -> None:
    await put(store, "both", "red apples")
    await put(store, "one", "red pears")
    assert await found(store, "red apples") == ["both"]
    assert sorted(await found(store, "red plums")) == ["both", "one"]


async def test_phrases_need_their_order_and_prefixes_a_beginning(store: MemoryStore) -> None:
    await put(store, "k", "the singleton pattern")
    assert await found(store, "singleton pattern", mode="phrase") == ["k"]
    assert await found(store, "pattern singleton", mode="phrase") == []
    assert await found(store, "the sing", mode="prefix") == ["k"]
    assert await found(store, "gleton", mode="prefix") == []


async def test_the_better_hit_is_first_and_has_the_higher_score(store: MemoryStore) -> None:
    filler = "lorem ipsum dolor sit amet " * 20
    await put(store, "worse", f"{filler} deployment {filler}")
    await put(store, "better", "deployment of the deployment guide")
    for n in range(20):
        await put(store, f"n{n}", filler)
    hits = await store.search_text(HERE, "deployment", limit=10)
    assert [hit.entry.key for hit in hits] == ["better", "worse"]
    assert 1 >= hits[0].score > hits[1].score >= 0


async def test_scores_tell_apart_even_where_every_entry_has_the_word(store: MemoryStore) -> None:
    await put(store, "worse", "apple " + "pear " * 50)
    await put(store, "better", "apple apple")
    hits = await store.search_text(HERE, "apple", limit=10)
    assert [hit.entry.key for hit in hits] == ["better", "worse"]
    assert hits[0].score > hits[1].score > 0


async def test_a_word_in_the_key_counts_more(store: MemoryStore) -> None:
    await put(store, "x", "singleton with other words")
    await put(store, "singleton", "something with other words")
    for n in range(9):
        await put(store, f"n{n}", "filler text")
    assert await found(store, "singleton") == ["singleton", "x"]


async def test_searches_stay_in_their_scope(store: MemoryStore) -> None:
    for space in ("default", "session:a", "session:b"):
        for agent in (None, "me", "you"):
            key = f"{space}/{agent}"
            await put(store, key, "apple", namespace=space, agent=agent, embedder=WORDS)
    mine = Scope(isolated=True, agent_id=AgentId("me"))
    own_only = Scope(namespace="session:a", agent_id=AgentId("me"), include_shared=False)
    for scope, keys in (
        (Scope(namespace="session:b"), {"session:b/None", "session:b/me", "session:b/you"}),
        (mine, {"default/None", "default/me"}),
        (own_only, {"session:a/me"}),
    ):
        assert set(await found(store, "apple", scope)) == keys
        assert {hit.entry.key for hit in await alike(store, "apple", scope)} == keys
        total, page = await store.list(scope, limit=100, offset=0)
        assert (total, {one.key for one in page}) == (len(keys), keys)
        assert (await store.count(scope, WORDS.name)) == (len(keys), len(keys))
    assert len(await found(store, "apple", Scope())) == 9


async def test_pages_are_newest_change_first_with_a_true_total(
    store: MemoryStore, clock: SetClock
) -> None:
    for n in range(5):
        clock.move(1)
        await put(store, f"k{n}", "x" * (199 + n), agent="me" if n else "you")
    clock.move(1)
    await put(store, "k2", "changed", agent="me")
    scope = Scope(namespace="default", agent_id=AgentId("me"))
    total, page = await store.list(scope, limit=3, offset=1)
    assert (total, [one.key for one in page]) == (4, ["k4", "k3", "k1"])
    assert [len(one.content_preview) for one in page] == [203, 203, 200]
    assert page[0].content_preview == "x" * 200 + "..."


async def test_another_agents_entry_is_not_replaced(store: MemoryStore) -> None:
    await put(store, "k", "mine", agent="me")
    with pytest.raises(DeniedError, match="belongs to another agent"):
        await store.put(draft("k", "theirs", agent="you"))
    entry = await store.find(HERE, "k")
    assert entry is not None
    assert (entry.content, entry.agent_id, entry.version) == ("mine", "me", 0)
    changed, _ = await store.put(draft("k", "by a person"))
    assert changed.agent_id == "me"


async def test_a_shared_entry_that_an_agent_replaces_stays_shared(store: MemoryStore) -> None:
    await put(store, "k", "everybody's")
    entry, _ = await store.put(draft("k", "still", agent="me"))
    assert entry.agent_id is None


async def test_deleting_takes_all_that_hangs_on_an_entry(store: MemoryStore) -> None:
    gone = await put(store, "k", "apple", tags=("t",), embedder=WORDS)
    kept = await put(store, "other", "apple", embedder=WORDS)
    await put(store, "k", "apple tree", embedder=WORDS)
    await store.link(Scope(), gone, kept, "related_to", None)
    assert len(await alike(store, "apple")) == 2
    assert await store.delete(HERE, "k")
    assert not await store.delete(HERE, "k")
    assert await found(store, "apple") == ["other"]
    assert [hit.entry.key for hit in await alike(store, "apple")] == ["other"]
    assert await store.tags(Scope()) == []
    assert await store.links(Scope(), kept) == []
    with pytest.raises(NotFoundError, match="Memory entry not found"):
        await store.versions(Scope(), gone)
    again, _ = await store.put(draft("k", "anew"))
    assert await store.versions(Scope(), again.id) == []


async def test_clearing_a_namespace_leaves_the_others(store: MemoryStore) -> None:
    for n in range(3):
        await put(store, f"k{n}", "apple", namespace="session:a", embedder=WORDS)
    await put(store, "kept", "apple", embedder=WORDS)
    assert len(await alike(store, "apple", Scope())) == 4
    assert await store.clear("session:a") == 3
    assert await found(store, "apple", Scope()) == ["kept"]
    assert [hit.entry.key for hit in await alike(store, "apple", Scope())] == ["kept"]
    assert [(one.namespace, one.entries) for one in await store.namespaces(Scope())] == [
        ("default", 1)
    ]


async def test_tags_are_counted_and_all_of_them_are_wanted(store: MemoryStore) -> None:
    both = await put(store, "both", "x", tags=("a", "b"))
    await put(store, "one", "x", tags=("a",))
    assert [(one.tag, one.count) for one in await store.tags(Scope())] == [("a", 2), ("b", 1)]
    total, page = await store.list(Scope(), limit=9, offset=0, tags=["a", "b"])
    assert (total, [one.key for one in page]) == (1, ["both"])
    await store.tag(Scope(), both, "a")
    assert (await store.tag(Scope(), both, "c")).tags == ("a", "b", "c")
    assert (await store.untag(Scope(), both, "a")).tags == ("b", "c")
    with pytest.raises(NotFoundError):
        await store.tag(Scope(), MemoryId("none"), "a")


async def test_relationships_are_seen_from_both_ends_and_only_within_scope(
    store: MemoryStore,
) -> None:
    one = await put(store, "one", "x", agent="me")
    two = await put(store, "two", "x")
    link = await store.link(Scope(), one, two, "depends_on", {"why": "\0"})
    assert await store.links(Scope(), one) == await store.links(Scope(), two) == [link]
    assert (link.from_id, link.to_id, link.metadata) == (one, two, {"why": "\0"})
    with pytest.raises(ConflictError, match="Relationship already exists"):
        await store.link(Scope(), one, two, "depends_on", None)
    theirs = Scope(agent_id=AgentId("you"))
    assert await store.links(theirs, two) == []
    assert not await store.unlink(theirs, link.id)
    with pytest.raises(NotFoundError, match="Memory entry not found"):
        await store.link(theirs, two, one, "related_to", None)
    assert await store.unlink(Scope(), link.id)
    assert await store.links(Scope(), one) == []


async def test_the_most_similar_is_first_with_its_exact_cosine(store: MemoryStore) -> None:
    for text in ("red apple", "red apple pie", "green pear"):
        await put(store, text, text, embedder=WORDS)
    hits = await alike(store, "red apple")
    assert [hit.entry.key for hit in hits] == ["red apple", "red apple pie"]
    exact = float(WORDS.vector("red apple") @ WORDS.vector("red apple pie"))
    assert [hit.score for hit in hits] == pytest.approx([1.0, exact], abs=0.001)


async def test_vectors_of_other_embedders_are_not_looked_at(store: MemoryStore) -> None:
    other = WordEmbedder("fake:wide", 128)
    await put(store, "theirs", "apple", embedder=other)
    await put(store, "none", "apple")
    await put(store, "ours", "apple", embedder=WORDS)
    assert [hit.entry.key for hit in await alike(store, "apple")] == ["ours"]
    assert await store.count(HERE, WORDS.name) == (3, 1)
    await put(store, "ours", "apple", embedder=other)
    assert await alike(store, "apple") == []


async def test_a_new_content_without_a_vector_is_not_found_by_the_old_one(
    store: MemoryStore,
) -> None:
    await put(store, "k", "apple", embedder=WORDS)
    assert len(await alike(store, "apple")) == 1
    entry, _ = await store.put(draft("k", "pear"))
    assert entry.embedder is None
    assert await alike(store, "apple") == []


async def test_what_another_process_stores_and_deletes_is_seen_at_the_next_search(
    store: MemoryStore, database_target: Path | str
) -> None:
    other = await open_memory_store(database_target, clock=SetClock(), ids=Uuids())
    assert await alike(store, "apple") == []
    for n in range(3):
        await put(other, f"k{n}", "apple", embedder=WORDS)
    assert len(await alike(store, "apple")) == 3
    await other.delete(HERE, "k1")
    await put(other, "k2", "pear", embedder=WORDS)
    assert [hit.entry.key for hit in await alike(store, "apple")] == ["k0"]
    await other.aclose()


async def test_missing_vectors_are_made_up_for_unless_the_entry_changed(
    store: MemoryStore,
) -> None:
    for key in ("one", "two", "three"):
        await put(store, key, f"apple {key}")
    missing = await store.unindexed(WORDS.name, after=0, limit=2)
    assert [one.content for one in missing] == ["apple one", "apple two"]
    await put(store, "two", "changed meanwhile")
    made = [(one, WORDS.vector(one.content)) for one in missing]
    assert await store.index(WORDS.name, made) == 1
    rest = await store.unindexed(WORDS.name, after=0, limit=9)
    assert [one.content for one in rest] == ["changed meanwhile", "apple three"]


async def test_keys_are_suggested_in_order(store: MemoryStore) -> None:
    for key in ("pattern-b", "pattern-a", "Pattern", "other"):
        await put(store, key, "x")
    assert await store.suggest(HERE, "pattern", limit=5) == ["pattern-a", "pattern-b"]


async def test_a_content_of_a_million_characters_is_stored_and_found(store: MemoryStore) -> None:
    words = " ".join(f"w{n}" for n in range(140_000))
    await put(store, "big", words[:1_000_000])
    assert await found(store, "w77") == ["big"]
    await put(store, "big", "\U0001f600" * 1_000_000)
    assert await found(store, "w77") == []


async def test_the_version_moves_with_every_change(store: MemoryStore) -> None:
    before = await store.version()
    await put(store, "k", "x")
    assert await store.version() != before


async def test_many_vectors_are_read_in_parts_and_rows_of_one_revision_are_not_torn_apart(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "_BATCH", 3)
    for n in range(8):
        await put(store, f"k{n}", "apple")
    missing = await store.unindexed(WORDS.name, after=0, limit=8)
    await store.index(WORDS.name, [(one, WORDS.vector(one.content)) for one in missing])
    assert len(await alike(store, "apple")) == 8
    await store.delete(HERE, "k3")
    await put(store, "k9", "apple", embedder=WORDS)
    assert {hit.entry.key for hit in await alike(store, "apple")} == {
        f"k{n}" for n in (0, 1, 2, 4, 5, 6, 7, 9)
    }


async def test_whoever_was_away_for_long_reads_all_vectors_again(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "REMOVALS_KEPT", 2)
    monkeypatch.setattr(writing, "REMOVALS_KEPT", 2)
    for n in range(3):
        await put(store, f"k{n}", "apple", embedder=WORDS)
    assert len(await alike(store, "apple")) == 3
    await store.delete(HERE, "k0")
    for n in range(4):
        await put(store, f"x{n}", "pear")
    await store.delete(HERE, "x0")
    assert {hit.entry.key for hit in await alike(store, "apple")} == {"k1", "k2"}


async def test_what_is_gone_by_other_embedders_is_remembered_for_a_while_only(
    store: MemoryStore, database_target: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "REMOVALS_KEPT", 3)
    for n in range(10):
        await put(store, "k", "apple", embedder=WordEmbedder(f"fake:{n % 2}"))
    url = database_target if isinstance(database_target, str) else f"sqlite:///{database_target}"
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT count(*) FROM memory_removed").scalar_one()
    engine.dispose()
    assert kept == 3


async def test_vectors_of_a_length_that_the_embedder_had_once_are_missing(
    store: MemoryStore,
) -> None:
    once = WordEmbedder(WORDS.name, 32)
    await put(store, "old", "apple", embedder=once)
    await put(store, "new", "apple", embedder=WORDS)
    assert [hit.entry.key for hit in await alike(store, "apple")] == ["new"]
    assert await store.count(HERE, WORDS.name, WORDS.dimensions) == (2, 1)
    assert await store.count(Scope(), WORDS.name, WORDS.dimensions) == (2, 1)
    missing = await store.unindexed(WORDS.name, WORDS.dimensions, after=0, limit=9)
    await store.index(WORDS.name, [(one, WORDS.vector(one.content)) for one in missing])
    assert {hit.entry.key for hit in await alike(store, "apple")} == {"old", "new"}
    assert await store.count(HERE, WORDS.name, WORDS.dimensions) == (2, 2)
    await put(store, "new", "apple", embedder=once)
    assert [hit.entry.key for hit in await alike(store, "apple")] == ["old"]


async def test_characters_that_stand_for_whole_words_do_not_make_a_content_too_long(
    store: MemoryStore,
) -> None:
    # One character, six when it is written out.
    await put(store, "k", " ".join("\u3316" * 20 + str(n) for n in range(6_000)))
    assert await found(store, "\u3316" * 20 + "7") == ["k"]


async def test_of_very_many_matches_the_newest_are_ranked_in_large_and_small_namespaces(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_index, "CANDIDATES", 5)
    monkeypatch.setattr(text_index, "_SMALL_NAMESPACE", 3)
    for n in range(8):
        await put(store, f"n{n}", "apple", agent="me" if n < 4 else None)
    await put(store, "best", "apple apple apple")
    await put(store, "small", "apple", namespace="small")
    await put(store, "theirs", "apple", namespace="small", agent="you")
    mine = Scope(namespace="small", agent_id=AgentId("me"))
    assert await found(store, "apple", mine) == ["small"]
    hits = await found(store, "apple", Scope(namespace="default", agent_id=AgentId("you")))
    assert hits[0] == "best"
    assert len(hits) == 5
    assert len(await found(store, "apple", Scope())) == 5


async def test_a_search_that_stores_go_on_beside_sees_each_entry_whole(
    store: MemoryStore, database_target: Path | str
) -> None:
    other = await open_memory_store(database_target, clock=SetClock(), ids=Uuids())

    async def change() -> None:
        for n in range(20):
            await put(other, "k", f"apple {n}", embedder=WORDS)

    async with anyio.create_task_group() as group:
        group.start_soon(change)
        for _ in range(20):
            for hit in [
                *await alike(store, "apple"),
                *await store.search_text(HERE, "apple", limit=5),
            ]:
                assert hit.entry.key == "k"
    await other.aclose()
    assert len(await alike(store, "apple 19")) == 1


@pytest.mark.parametrize("way", ["cleared", "after a long time", "by another embedder"])
async def test_vectors_that_are_gone_do_not_crowd_out_those_that_are_there(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "after a long time":
        monkeypatch.setattr(vectors, "REMOVALS_KEPT", 1)
        monkeypatch.setattr(writing, "REMOVALS_KEPT", 1)
    await put(store, "kept", "apple pie", embedder=WORDS)
    for n in range(70):
        await put(store, f"k{n}", "apple", namespace="many")
    missing = await store.unindexed(WORDS.name, after=0, limit=100)
    await store.index(WORDS.name, [(one, WORDS.vector(one.content)) for one in missing])
    query = Embedding(WORDS.name, WORDS.vector("apple"))
    (first,) = await store.search_vectors(Scope(), query, limit=1, threshold=0.3)
    assert first.entry.namespace == "many"
    if way == "by another embedder":
        other = WordEmbedder("fake:other")
        again = await store.unindexed(other.name, after=0, limit=100)
        moved = [(one, other.vector(one.content)) for one in again if one.content == "apple"]
        assert await store.index(other.name, moved) == 70
    else:
        assert await store.clear("many") == 70
    if way == "after a long time":
        await put(store, "one", "pear")
        await put(store, "two", "pear")
        await store.delete(HERE, "one")
    (left,) = await store.search_vectors(Scope(), query, limit=1, threshold=0.3)
    assert left.entry.key == "kept"


async def test_counts_that_were_kept_are_no_longer_told_once_another_handle_wrote(
    store: MemoryStore, database_target: Path | str, clock: SetClock
) -> None:
    async def told() -> tuple[int, int, dict[str, int], int]:
        here, _ = await store.list(HERE, limit=1, offset=0)
        tagged, _ = await store.list(HERE, limit=1, offset=0, tags=["t"])
        spaces = {one.namespace: one.entries for one in await store.namespaces(Scope())}
        return here, tagged, spaces, len(await store.namespaces(HERE))

    await put(store, "one", "x", tags=["t"])
    assert await told() == await told() == (1, 1, {"default": 1}, 1)
    other = await open_memory_store(database_target, clock=clock, ids=Uuids())
    try:
        await put(other, "two", "x", tags=["t"])
        await put(other, "three", "x", namespace="notes")
        assert await told() == (2, 2, {"default": 2, "notes": 1}, 1)
        assert await other.delete(HERE, "one")
        assert await told() == (1, 1, {"default": 1, "notes": 1}, 1)
    finally:
        await other.aclose()
    assert await store.delete(HERE, "two")
    assert await told() == (0, 0, {"notes": 1}, 0)

"""/api/v1/memory: entries, searches, tags, versions, relationships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient, Response

from tests.fakes.rest_door import rest

pytestmark = pytest.mark.anyio
MEMORY = "/api/v1/memory"
HASHED = '[memory.vectorSearch]\nenabled = true\nprovider = "hashed"\n'
KEYS = ["plain", "a/b/c", "with space", "ünï", "a%2Fb", "notes/versions", "x?y#z"]

UNFIT: list[dict[str, object]] = [
    {"key": "k"},
    {"key": "", "content": "c"},
    {"key": "k" * 501, "content": "c"},
    {"key": "k", "content": ""},
    {"key": "k", "content": "c", "metadata": []},
    {"key": "k", "content": "c", "generateEmbedding": "yes"},
    {"key": "k", "content": "c", "more": 1},
    {"key": "k", "content": "c", "namespace": "session:"},
]


def _data(answer: Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.json()["success"] is True
    return answer.json()["data"]


async def _stored(client: AsyncClient, key: str, content: str = "text", **more: object) -> str:
    answer = await client.post(MEMORY, json={"key": key, "content": content, **more})
    return _data(answer, 201)["id"]


def _quoted(key: str) -> str:
    return key.replace("%", "%25").replace("?", "%3F").replace("#", "%23")


async def test_what_was_stored_is_found_by_its_key_and_deleted(tmp_path: Path) -> None:
    async with rest(tmp_path, name="ana") as client:
        for key in KEYS:
            body = {"key": key, "content": "one", "tags": ["T"], "metadata": {"a": 1}}
            made = _data(await client.post(MEMORY, json=body), 201)
            assert (made["created"], made["tags"], made["origin"]["name"]) == (True, ["t"], "ana")
            found = _data(await client.get(f"{MEMORY}/{_quoted(key)}"))
            assert (found["key"], found["content"], found["agentId"]) == (key, "one", None)
            assert found["createdAt"].endswith("Z")
            assert _data(await client.delete(f"{MEMORY}/{_quoted(key)}")) == {"deleted": True}
            missing = await client.get(f"{MEMORY}/{_quoted(key)}")
            assert (missing.status_code, missing.json()["error"]) == (404, "Entry not found")
            assert (await client.delete(f"{MEMORY}/{_quoted(key)}")).status_code == 404


async def test_lists_come_in_pages_whose_total_heeds_the_filter(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        for number in range(4):
            await _stored(client, f"k{number}", namespace="n" if number else "other")
        listed = (await client.get(MEMORY, params={"namespace": "n", "limit": 2})).json()
        assert [one["key"] for one in listed["data"]] == ["k3", "k2"]
        assert listed["pagination"] == {"limit": 2, "offset": 0, "total": 3}
        everything = (await client.get(MEMORY)).json()
        assert everything["pagination"]["total"] == 4


async def test_a_session_sees_its_own_namespace_and_no_other_sessions(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        await _stored(client, "mine", sessionId="s1")
        await _stored(client, "theirs", sessionId="s2")
        listed = (await client.get(MEMORY, params={"sessionId": "s1"})).json()["data"]
        assert [(one["key"], one["namespace"]) for one in listed] == [("mine", "session:s1")]
        found = await client.get(f"{MEMORY}/mine", params={"sessionId": "s1"})
        assert _data(found)["namespace"] == "session:s1"
        refused = await client.get(
            f"{MEMORY}/theirs", params={"sessionId": "s1", "namespace": "session:s2"}
        )
        assert (refused.status_code, refused.json()["code"]) == (403, "denied")
        assert "cannot read memory in session s2" in refused.json()["error"]


async def test_a_sessions_entry_belongs_to_nobody_so_that_it_hides_no_others(
    tmp_path: Path,
) -> None:
    async with rest(tmp_path) as client:
        await _stored(client, "one", sessionId="s1")
        await _stored(client, "own", namespace="n", agentId="a1")
        await _stored(client, "shared", namespace="n")
        found = _data(await client.get(f"{MEMORY}/one", params={"sessionId": "s1"}))
        assert found["agentId"] is None

        async def keys(**query: str) -> set[str]:
            answer = (await client.get(MEMORY, params={"namespace": "n", **query})).json()
            return {one["key"] for one in answer["data"]}

        assert await keys(agentId="a1") == {"own", "shared"}
        assert await keys(agentId="a1", includeShared="false") == {"own"}
        assert await keys(agentId="a2") == {"shared"}


async def test_searching_by_query_and_by_body_finds_the_same(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        await _stored(client, "one", "retries of failed requests")
        await _stored(client, "two", "colours of the sky")
        by_q = _data(await client.get(f"{MEMORY}/search", params={"q": "failed requests"}))
        by_query = _data(await client.get(f"{MEMORY}/search", params={"query": "failed requests"}))
        by_body = _data(await client.post(f"{MEMORY}/search", json={"query": "failed requests"}))
        assert by_q == by_query == by_body
        (hit,) = by_q["results"]
        assert (hit["entry"]["key"], hit["matchType"]) == ("one", "fts")
        assert (await client.get(f"{MEMORY}/search")).status_code == 400


async def test_a_search_for_anything_has_an_answer(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        await _stored(client, "one", "foo-bar AND C++")
        for query in ("foo-bar", "AND", "C++", "(", "*", '"', "NOT", "a:b", "", "foo'bar;--"):
            found = _data(await client.get(f"{MEMORY}/search", params={"q": query}))
            assert found["count"] == len(found["results"])


async def test_vectors_are_made_and_counted_when_asked(tmp_path: Path) -> None:
    async with rest(tmp_path, HASHED) as client:
        for number in range(3):
            await _stored(client, f"k{number}", f"words {number}", generateEmbedding=False)
        stats = _data(await client.get(f"{MEMORY}/stats/vector"))
        assert (stats["total"], stats["indexed"], stats["coverage"]) == (3, 0, 0.0)
        made = _data(await client.post(f"{MEMORY}/reindex"))
        assert (made["reindexed"], made["indexed"], made["coverage"]) == (3, 3, 100.0)
        assert _data(await client.post(f"{MEMORY}/reindex"))["reindexed"] == 0
        words = {"query": "words 1", "useVector": False}
        plain = _data(await client.post(f"{MEMORY}/search", json=words))
        alike = _data(await client.post(f"{MEMORY}/search", json={**words, "useVector": True}))
        assert (plain["embedder"], alike["embedder"] is None) == (None, False)


async def test_without_vector_search_reindexing_says_so(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        refused = await client.post(f"{MEMORY}/reindex")
        assert (refused.status_code, refused.json()["error"]) == (400, "vector search is off")


async def test_tags_are_added_listed_searched_and_removed(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        one = await _stored(client, "one", tags=["a"])
        await _stored(client, "two", tags=["a", "c"])
        tagged = await client.post(f"{MEMORY}/{one}/tags", json={"tag": "B"})
        assert _data(tagged, 201)["tags"] == ["a", "b"]
        tags = _data(await client.get(f"{MEMORY}/tags"))
        assert tags["tags"][0] == {"tag": "a", "count": 2}
        assert tags["count"] == 3
        both = (await client.get(f"{MEMORY}/search/tags", params={"tags": "a,b"})).json()
        assert ([each["key"] for each in both["data"]], both["pagination"]["total"]) == (["one"], 1)
        left = await client.delete(f"{MEMORY}/{one}/tags/a")
        assert _data(left)["tags"] == ["b"]
        refused = await client.post(f"{MEMORY}/{one}/tags", json={"tag": "no tag!"})
        assert refused.status_code == 400
        assert "can only contain lowercase letters" in refused.json()["error"]


async def test_entries_are_related_once_and_found_from_both_ends(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        one, two = await _stored(client, "one"), await _stored(client, "two")
        body = {"toId": two, "relationshipType": "depends_on", "metadata": {"why": "so"}}
        made = _data(await client.post(f"{MEMORY}/{one}/relationships", json=body), 201)
        assert (made["fromId"], made["toId"]) == (one, two)
        again = await client.post(f"{MEMORY}/{one}/relationships", json=body)
        assert (again.status_code, again.json()["error"]) == (409, "Relationship already exists")
        to_self = {"toId": one, "relationshipType": "depends_on"}
        refused = await client.post(f"{MEMORY}/{one}/relationships", json=to_self)
        assert (refused.status_code, refused.json()["error"]) == (
            400,
            "Cannot create relationship to self",
        )

        async def count(entry: str, direction: str) -> int:
            query = {"direction": direction}
            return _data(await client.get(f"{MEMORY}/{entry}/relationships", params=query))["count"]

        assert [await count(one, each) for each in ("outgoing", "incoming", "both")] == [1, 0, 1]
        assert [await count(two, each) for each in ("outgoing", "incoming", "both")] == [0, 1, 1]
        related = _data(await client.get(f"{MEMORY}/{two}/related", params={"type": "depends_on"}))
        assert [each["entry"]["key"] for each in related["entries"]] == ["one"]
        none = _data(await client.get(f"{MEMORY}/{two}/related", params={"type": "supersedes"}))
        assert none == {"count": 0, "entries": []}
        gone = f"{MEMORY}/relationships/{made['id']}"
        assert _data(await client.delete(gone)) == {"deleted": True}
        assert (await client.delete(gone)).status_code == 404


async def test_what_is_asked_of_an_entry_that_is_not_there_is_404(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        there = await _stored(client, "k")
        nowhere = "00000000-0000-4000-8000-000000000000"
        body = {"toId": there, "relationshipType": "references"}
        for entry in (nowhere, "nope"):
            answers = [
                await client.post(f"{MEMORY}/{entry}/tags", json={"tag": "t"}),
                await client.delete(f"{MEMORY}/{entry}/tags/t"),
                await client.post(f"{MEMORY}/{entry}/relationships", json=body),
                await client.get(f"{MEMORY}/{entry}/relationships"),
                await client.get(f"{MEMORY}/{entry}/related"),
                await client.get(f"{MEMORY}/{entry}/versions"),
                await client.get(f"{MEMORY}/{entry}/versions/1"),
                await client.post(f"{MEMORY}/{entry}/versions/1/restore"),
            ]
            assert [one.status_code for one in answers] == [404] * len(answers)
        assert (await client.get(f"{MEMORY}/{there}/tags")).status_code == 404, "a key's, and none"


async def test_a_version_is_looked_at_and_restored(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        entry = await _stored(client, "k", "first")
        await _stored(client, "k", "second")
        listed = _data(await client.get(f"{MEMORY}/{entry}/versions"))
        assert [(one["version"], one["content"]) for one in listed["versions"]] == [(1, "first")]
        one = _data(await client.get(f"{MEMORY}/{entry}/versions/1"))
        assert one["content"] == "first"
        back = _data(await client.post(f"{MEMORY}/{entry}/versions/1/restore"))
        assert (back["content"], back["version"]) == ("first", 2)
        for missing in (
            await client.get(f"{MEMORY}/{entry}/versions/9"),
            await client.post(f"{MEMORY}/{entry}/versions/9/restore"),
        ):
            assert missing.status_code == 404


async def test_a_body_that_does_not_fit_is_400(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        for body in UNFIT:
            refused = await client.post(MEMORY, json=body)
            assert (refused.status_code, refused.json()["success"]) == (400, False), body
        assert (await client.get(MEMORY)).json()["pagination"]["total"] == 0


async def test_a_viewer_reads_and_searches_but_stores_nothing(tmp_path: Path) -> None:
    async with rest(tmp_path, role="viewer") as client:
        assert (await client.post(f"{MEMORY}/search", json={"query": "x"})).status_code == 200
        refused = await client.post(MEMORY, json={"key": "k", "content": "c"})
        assert refused.status_code == 403

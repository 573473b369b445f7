"""The rules of memory that need no store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.ids import AgentId, MemoryId, SessionId
from perstack.domain.memory import (
    Caller,
    MatchType,
    MemoryEntry,
    MemoryHit,
    fuse,
    preview,
)
from perstack.errors import DeniedError
from tests.fakes.memory import ANA

KEYS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


def hits(keys: list[str], kind: MatchType) -> tuple[MemoryHit, ...]:
    made: list[MemoryHit] = []
    for place, key in enumerate(keys):
        entry = MemoryEntry(
            id=MemoryId(key),
            key=key,
            namespace="default",
            content=key,
            origin=ANA.origin,
            created_at=0,
            updated_at=0,
        )
        score = round(0.9 - place / 100, 6)
        vector = kind == "vector"
        made.append(
            MemoryHit(
                entry=entry,
                score=score,
                match_type=kind,
                similarity=score if vector else None,
                text_score=None if vector else score,
            )
        )
    return tuple(made)


@given(vector=KEYS, text=KEYS, limit=st.integers(1, 10))
def test_a_fused_list_holds_each_entry_once_in_the_order_of_its_scores(
    vector: list[str], text: list[str], limit: int
) -> None:
    fused = fuse(hits(vector, "vector"), hits(text, "fts"), limit=limit)
    keys = [hit.entry.key for hit in fused]
    assert len(keys) == len(set(keys)) == min(limit, len({*vector, *text}))
    scores = [hit.score for hit in fused]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    for hit in fused:
        lists = (hit.entry.key in vector, hit.entry.key in text)
        assert (
            hit.match_type
            == {
                (True, True): "hybrid",
                (True, False): "vector",
                (False, True): "fts",
            }[lists]
        )
        assert (hit.similarity is not None, hit.text_score is not None) == lists


def test_what_both_find_first_has_the_full_score() -> None:
    fused = fuse(hits(["a", "b"], "vector"), hits(["a", "c"], "fts"), limit=9)
    assert [(hit.entry.key, hit.score) for hit in fused] == [
        ("a", 1.0),
        ("b", pytest.approx(61 / 62 / 2)),
        ("c", pytest.approx(61 / 62 / 2)),
    ]


def test_with_one_list_its_own_scores_stay() -> None:
    assert [hit.score for hit in fuse((), hits(["a", "b"], "fts"), limit=9)] == [0.9, 0.89]
    assert [hit.score for hit in fuse(hits(["a"], "vector"), (), limit=9)] == [0.9]


@given(content=st.text(max_size=300))
def test_a_preview_is_the_content_or_its_beginning(content: str) -> None:
    shown = preview(content)
    assert shown == content if len(content) <= 200 else shown == content[:200] + "..."


@pytest.mark.parametrize(
    ("caller", "namespace", "denied"),
    [
        (Caller("p"), "session:a", False),
        (Caller("p", session_id=SessionId("a")), "session:a", False),
        (Caller("p", session_id=SessionId("a")), "session:b", True),
        (Caller("p", session_id=SessionId("a")), "session:", True),
        (Caller("x", agent_id=AgentId("x")), "session:a", True),
        (Caller("x", agent_id=AgentId("x")), "session:None", True),
        (Caller("x", agent_id=AgentId("x")), "sessions", False),
        (Caller("x", agent_id=AgentId("x")), "global", False),
    ],
)
def test_only_a_session_itself_and_people_outside_any_reach_its_namespace(
    caller: Caller, namespace: str, denied: bool
) -> None:
    if not denied:
        caller.check(namespace, "read")
        return
    with pytest.raises(DeniedError, match="Access denied: cannot read memory in session"):
        caller.check(namespace, "read")

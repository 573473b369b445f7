"""The matrix against a search that looks at every vector."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from perstack.storage.database.memory.matrix import Matrix, Row, View, pack, unpack

DIMENSIONS = 24
EVERYTHING = View(None, None, "session:", None, include_shared=True)
SPACES = ("default", "notes", "session:a", "session:b")
AGENTS = (None, "me", "you")


def vector(seed: int, dimensions: int = DIMENSIONS) -> NDArray[np.float32]:
    made = np.random.default_rng(seed).standard_normal(dimensions, dtype=np.float32)
    return made / np.float32(np.linalg.norm(made))


def row(number: int, seed: int, space: str = "default", agent: str | None = None) -> Row:
    return Row(number, pack(vector(seed)), space, agent)


def is_open(row: Row, view: View) -> bool:
    """The rule, said once more and slowly."""
    if view.namespace is not None:
        there = row.namespace == view.namespace
    elif view.closed_prefix is not None and row.namespace.startswith(view.closed_prefix):
        there = row.namespace == view.own
    else:
        there = True
    shared = view.include_shared and row.agent_id is None
    return there and (view.agent_id is None or row.agent_id == view.agent_id or shared)


@dataclass
class Model:
    """What the matrix should hold."""

    rows: dict[int, Row] = field(default_factory=dict[int, Row])

    def best(self, query: NDArray[np.float32], view: View, limit: int) -> list[int]:
        scores = {
            number: float(unpack(row.stored) @ query)
            for number, row in self.rows.items()
            if is_open(row, view)
        }
        return sorted(scores, key=lambda number: -scores[number])[:limit]


ROWS = st.builds(
    row,
    st.integers(1, 40),
    st.integers(0, 50),
    st.sampled_from(SPACES),
    st.sampled_from(AGENTS),
)
VIEWS = st.builds(
    View,
    st.one_of(st.none(), st.sampled_from(("default", "session:a", "none"))),
    st.one_of(st.none(), st.just("session:")),
    st.sampled_from(("session:", "session:a")),
    st.sampled_from((None, "me", "nobody")),
    include_shared=st.booleans(),
)
STEPS = st.lists(
    st.one_of(st.lists(ROWS, min_size=1, max_size=8), st.sets(st.integers(1, 45), max_size=6)),
    max_size=8,
)


@settings(max_examples=80)
@given(steps=STEPS, view=VIEWS, seed=st.integers(0, 50), limit=st.integers(1, 5))
def test_the_best_are_always_among_the_candidates(
    steps: list[list[Row] | set[int]], view: View, seed: int, limit: int
) -> None:
    matrix, model = Matrix(DIMENSIONS), Model()
    for step in steps:
        if isinstance(step, set):
            matrix.remove(step)
            model.rows = {n: one for n, one in model.rows.items() if n not in step}
        else:
            fresh = list({one.number: one for one in step}.values())
            matrix.add(fresh)
            model.rows.update({one.number: one for one in fresh})
    found = matrix.search(vector(seed), view, limit=limit, threshold=-1)
    assert len(matrix) == len(model.rows)
    assert len(set(found)) == len(found)
    assert set(model.best(vector(seed), view, limit)) <= set(found)
    assert all(is_open(model.rows[number], view) for number in found)


def test_over_many_blocks_the_best_are_found_in_any_share_of_the_rows() -> None:
    matrix, model = Matrix(DIMENSIONS), Model()
    rows = [row(n, n, "few" if n % 100 == 0 else "many") for n in range(1, 10_001)]
    for start in range(0, len(rows), 3_000):
        matrix.add(rows[start : start + 3_000])
    model.rows = {one.number: one for one in rows}
    for space in (None, "few", "many"):
        view = View(space, None, "", None, include_shared=True)
        for seed in (17, 9_900):
            found = matrix.search(vector(seed), view, limit=10, threshold=-1)
            assert set(model.best(vector(seed), view, 10)) <= set(found)


def test_what_is_below_the_threshold_is_left_out() -> None:
    matrix = Matrix(DIMENSIONS)
    matrix.add([row(n, n) for n in range(1, 500)])
    assert matrix.search(vector(7), EVERYTHING, limit=10, threshold=0.99) == [7]


def test_vectors_of_another_length_do_not_matter() -> None:
    matrix = Matrix(DIMENSIONS)
    matrix.add([row(1, 1), Row(2, pack(vector(1, 7)), "default", None)])
    assert matrix.search(vector(1), EVERYTHING, limit=5, threshold=0.5) == [1]
    assert matrix.search(vector(1, 7), EVERYTHING, limit=5, threshold=0.5) == []


def test_a_vector_that_became_one_of_another_length_is_gone() -> None:
    matrix = Matrix(DIMENSIONS)
    matrix.add([row(1, 1)])
    matrix.add([Row(1, pack(vector(1, 7)), "default", None)])
    assert matrix.search(vector(1), EVERYTHING, limit=5, threshold=0.5) == []


def test_an_empty_matrix_finds_nothing() -> None:
    assert Matrix(DIMENSIONS).search(vector(1), EVERYTHING, limit=5, threshold=0) == []


def test_a_vector_of_nothing_but_zeros_is_like_nothing() -> None:
    matrix = Matrix(DIMENSIONS)
    matrix.add([Row(1, pack(np.zeros(DIMENSIONS, np.float32)), "default", None)])
    assert matrix.search(vector(1), EVERYTHING, limit=5, threshold=0.1) == []


def test_most_rows_gone_is_a_waste() -> None:
    matrix = Matrix(DIMENSIONS)
    matrix.add([row(n, n) for n in range(1, 5_001)])
    matrix.remove(range(1, 2_000))
    assert not matrix.wasted
    matrix.remove(range(2_000, 4_000))
    assert matrix.wasted


def test_what_is_stored_has_nearly_the_same_cosines() -> None:
    for seed in range(50):
        kept = unpack(pack(vector(seed, 384)))
        assert float(kept @ vector(seed, 384)) == pytest.approx(1, abs=0.001)

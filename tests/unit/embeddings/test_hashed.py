"""What the vectors without a model can tell, measured on labelled pairs of texts."""

from __future__ import annotations

import tomllib
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.coordination import DriftSettings
from perstack.embeddings.hashed import DIMENSIONS, MOST_CHARS, HashedEmbedder, hashed_rows

pytestmark = pytest.mark.anyio

PAIRS: Final[dict[str, list[list[str]]]] = tomllib.loads(
    (Path(__file__).parents[2] / "fixtures" / "texts" / "pairs.toml").read_text()
)
REPEATED: Final = DriftSettings().threshold
WARNED: Final = 0.8


def cosines(kind: str) -> list[float]:
    ones = hashed_rows([one for one, _ in PAIRS[kind]])
    others = hashed_rows([other for _, other in PAIRS[kind]])
    return sorted(float(cosine) for cosine in (ones * others).sum(axis=1))


def test_what_is_restated_is_a_repetition_by_the_usual_threshold() -> None:
    found = cosines("restated")
    assert sum(cosine >= REPEATED for cosine in found) / len(found) >= 0.9
    assert found[0] >= WARNED


def test_what_is_nearly_the_same_is_mostly_warned_of() -> None:
    found = cosines("near")
    assert sum(cosine >= WARNED for cosine in found) / len(found) >= 0.7
    assert found[0] > 0.6


def test_another_matter_in_the_same_words_is_no_repetition() -> None:
    assert cosines("other")[-1] < 0.85


def test_what_is_unrelated_has_nothing_in_common() -> None:
    assert cosines("unrelated")[-1] < 0.15


def test_near_is_far_above_unrelated_and_meaning_is_not_seen() -> None:
    assert cosines("near")[0] - cosines("unrelated")[-1] > 0.5
    assert median(cosines("paraphrase")) < 0.15


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_has_a_vector_of_length_one_that_depends_on_it_alone(one: str, two: str) -> None:
    both = hashed_rows([one, two])
    assert both.shape == (2, DIMENSIONS)
    assert both.dtype == np.float32
    assert np.allclose(np.linalg.norm(both, axis=1), 1, atol=1e-5)
    assert np.array_equal(both[:1], hashed_rows([one]))


@pytest.mark.parametrize("text", ["", "   ", "!!!", "🙂", "\x00", "\ud800"])
def test_texts_without_words_are_like_themselves(text: str) -> None:
    one, same, other = hashed_rows([text, text, "some words"])
    assert one @ same == pytest.approx(1, abs=1e-5)
    assert abs(one @ other) < 0.3


def test_what_comes_late_in_a_long_text_does_not_count() -> None:
    begun = "word " * (MOST_CHARS // 5 + 1)
    one, other = hashed_rows([begun, begun + "unlike " * 1_000_000])
    assert one @ other == pytest.approx(1)


async def test_the_embedder_gives_a_row_for_each_text() -> None:
    embedder = HashedEmbedder()
    texts = [f"text number {number}" for number in range(130)]
    rows = await embedder.embed(texts)
    assert np.array_equal(rows, hashed_rows(texts))
    assert (await embedder.embed([])).shape == (0, embedder.dimensions)
    assert embedder.name == "hashed:words-512-1"
    await embedder.aclose()

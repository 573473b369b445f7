"""A small BERT in numpy: from token numbers to one vector a text, the mean over its tokens."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float32]

_TINY: Final = 1e-12
_MOST_HEADER: Final = 1024 * 1024
_TYPES: Final = {"F32": "<f4", "F16": "<f2"}


@dataclass(frozen=True, slots=True)
class Bert:
    """Weights under the names of their file. `heads` is how many ways attention looks."""

    weights: Mapping[str, Array]
    heads: int
    layers: int

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        return int(self.weights["embeddings.word_embeddings.weight"].shape[1])

    def vector(self, tokens: Sequence[int]) -> Array:
        """Return the vector of a text, of length one."""
        given = self.weights
        state = (
            given["embeddings.word_embeddings.weight"][np.asarray(tokens)]
            + given["embeddings.position_embeddings.weight"][: len(tokens)]
            + given["embeddings.token_type_embeddings.weight"][0]
        )
        state = self._normal("embeddings.LayerNorm", state)
        for layer in range(self.layers):
            state = self._layer(f"encoder.layer.{layer}", state)
        mean = state.mean(axis=0)
        return (mean / max(float(np.linalg.norm(mean)), _TINY)).astype(np.float32)

    def _layer(self, name: str, state: Array) -> Array:
        seen = self._linear(f"{name}.attention.output.dense", self._attention(name, state))
        state = self._normal(f"{name}.attention.output.LayerNorm", state + seen)
        wide = _gelu(self._linear(f"{name}.intermediate.dense", state))
        return self._normal(
            f"{name}.output.LayerNorm", state + self._linear(f"{name}.output.dense", wide)
        )

    def _attention(self, name: str, state: Array) -> Array:
        length, size = state.shape
        each = size // self.heads

        def split(part: str) -> Array:
            made = self._linear(f"{name}.attention.self.{part}", state)
            return made.reshape(length, self.heads, each).transpose(1, 0, 2)

        scores = split("query") @ split("key").transpose(0, 2, 1) / math.sqrt(each)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return (weights @ split("value")).transpose(1, 0, 2).reshape(length, size)

    def _linear(self, name: str, state: Array) -> Array:
        return state @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _normal(self, name: str, state: Array) -> Array:
        middle = state - state.mean(axis=-1, keepdims=True)
        spread = np.sqrt((middle * middle).mean(axis=-1, keepdims=True) + _TINY)
        return middle / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def read_safetensors(path: Path) -> dict[str, Array]:
    """Return the arrays of a safetensors file that hold 32- or 16-bit floats. Blocks on the disk.

    Raises:
        ValueError: it is no such file.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    if not 0 < size <= min(_MOST_HEADER, len(data) - 8):
        raise ValueError(f"{path.name} is no safetensors file")
    header = json.loads(data[8 : 8 + size])
    found: dict[str, Array] = {}
    for name, about in header.items():
        kind = _TYPES.get(about.get("dtype", ""))
        if kind is None:
            continue
        start, end = (8 + size + offset for offset in about["data_offsets"])
        flat = np.frombuffer(data[start:end], dtype=kind)
        found[name] = flat.reshape(about["shape"]).astype(np.float32)
    return found


def _gelu(state: Array) -> Array:
    return (state * 0.5 * (1.0 + _erf(state / math.sqrt(2.0)))).astype(np.float32)


def _erf(x: Array) -> Array:
    """Return the error function, right to 1.5e-7 (Abramowitz and Stegun 7.1.26)."""
    size = np.abs(x)
    t = 1.0 / (1.0 + 0.3275911 * size)
    slope = (
        (((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592
    ) * t
    return (np.sign(x) * (1.0 - slope * np.exp(-size * size))).astype(np.float32)

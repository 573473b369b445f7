"""Each of the 46 tools takes at least what the seed's input schema says, by the seed's names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from pydantic import TypeAdapter

from perstack.core_types import CORE_TYPE_NAMES
from perstack.domain.base import Model
from perstack.serving.verbs.catalog import verbs
from perstack.serving.verbs.schemas import Schema, input_schema

INPUTS_FILE: Final = Path(__file__).parent.parent / "fixtures" / "seed_inputs.json"


class SeedInput(Model):
    """What the seed says of a tool's input: types, what is required, words, defaults."""

    types: dict[str, str]
    required: frozenset[str]
    words: dict[str, frozenset[str]]
    defaults: dict[str, str | int]


SEED: Final = TypeAdapter(dict[str, SeedInput]).validate_json(INPUTS_FILE.read_bytes())


def properties(tool: str) -> dict[str, Schema]:
    """Return the schemas of what a tool takes, by name."""
    found = input_schema(verbs()[tool].takes)["properties"]
    return TypeAdapter(dict[str, Schema]).validate_python(found)


def test_the_seed_has_46_tools() -> None:
    assert len(SEED) == 46


@pytest.mark.parametrize("tool", SEED)
def test_whatever_the_seed_lets_a_tool_be_given_is_taken(tool: str) -> None:
    ours, seed = properties(tool), SEED[tool]
    for name, kind in seed.types.items():
        # The seed's numbers are counts, but for the threshold.
        counted = "number" if name == "threshold" else "integer"
        assert ours[name]["type"] == (counted if kind == "number" else kind), name
    needed = TypeAdapter(list[str]).validate_python(
        input_schema(verbs()[tool].takes).get("required", [])
    )
    assert set(needed) <= seed.required
    for name, value in seed.defaults.items():
        assert ours[name]["default"] == value, name
    for name, words in seed.words.items():
        taken = TypeAdapter(list[str]).validate_python(ours[name].get("enum", CORE_TYPE_NAMES))
        assert words <= set(taken), name


def test_every_field_says_in_one_line_what_it_is() -> None:
    silent = {
        f"{tool}.{name}"
        for tool in verbs()
        for name, schema in properties(tool).items()
        if "\n" in str(schema.get("description", "\n"))
    }
    assert silent == set()

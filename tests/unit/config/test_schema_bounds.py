"""At and beside each bound of the schema, the reader says what the schema says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from perstack.config.schema import config_schema
from perstack.config.toml_text import toml_lines
from tests.unit.config.test_schema import reader_says, schema_says

Json = dict[str, Any]
Path = tuple[str, ...]

URL: Final = "https://x.example/"
OBJECT: Final = '{"type":"object"}'
# One name for each table of names, by the table's key.
NAMES: Final = {
    "models": "m",
    "experts": "a",
    "headers": "X-A",
    "headerEnv": "X-B",
    "tools": "q",
}
SKILLS: Final = ("stdio", "sse", "http", "ask")
# What is the reader's alone: Experts that are there, JSON in a string, names of base tools.
READERS_OWN: Final = {
    ("a", "delegates"),
    ("q", "inputJsonSchema"),
    ("@perstack/base", "requireApproval"),
    ("@perstack/base", "omit"),
    ("@perstack/memory", "requireApproval"),
    ("@perstack/memory", "omit"),
}


def base() -> Json:
    """A good file that has every table in which keys are tried."""
    skills = {
        "stdio": {"type": "mcpStdioSkill", "command": "npx", "packageName": "p"},
        "sse": {"type": "mcpSseSkill", "endpoint": URL},
        "http": {"type": "mcpHttpSkill", "endpoint": URL},
        "ask": {"type": "interactiveSkill", "tools": {"q": {"inputJsonSchema": OBJECT}}},
        "@perstack/base": {"type": "baseSkill"},
        "@perstack/memory": {"type": "memorySkill"},
    }
    price = {"input": 1, "output": 1}
    return {
        "models": {"m": {"price": price}},
        "experts": {"a": {"instruction": "x", "skills": skills}},
    }


def keys(schema: Json, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Yield every key with its schema; of names, one for each table of names."""
    for key, part in schema.get("properties", {}).items():
        yield (*path, key), part
        yield from keys(part, (*path, key))
    for part in schema.get("patternProperties", {}).values():
        if path[-1] == "skills":
            for name, kind in zip(SKILLS, part["oneOf"], strict=True):
                yield from keys(kind, (*path, name))
        else:
            yield (*path, NAMES[path[-1]]), part
            yield from keys(part, (*path, NAMES[path[-1]]))


KEYS: Final = [(path, part) for path, part in keys(config_schema()) if {"type", "anyOf"} & {*part}]


def values(part: Json) -> Iterator[Any]:
    """Yield values at and beside the bounds of a schema, and values of other types."""
    yield from (3, -1, 0.5, True, "x", "", [], {}, [3], ["x"], [[]])
    for each in part.get("anyOf", ()):
        yield from values(each)
    yield from part.get("enum", ())
    match part.get("type"):
        case "string":
            yield from texts(part)
        case "integer" | "number":
            low, high = part["minimum"], part["maximum"]
            yield from (low, high, float(low), low - 1, high + 1)
        case "array":
            yield from lists(part)
        case _:
            pass


def texts(part: Json) -> Iterator[str]:
    """Yield strings about as long as may be, and of the kinds that patterns tell apart."""
    longest = part.get("maxLength", 0)
    start = URL if "https?" in part.get("pattern", "") else ""
    for length in (part.get("minLength", 0), longest, longest + 1):
        yield start + "x" * (length - len(start))
    yield from ("a", "A-1", "a b", "a_b", "a.b", "-a", "1.0.0", "v1", "é", "*.a.b", "a/b", "x" * 64)


def lists(part: Json) -> Iterator[list[Any]]:
    """Yield lists about as long as may be, and lists of one odd item."""
    first: Json = part["items"][0] if "additionalItems" in part else part["items"]
    item: Any = {"type": "builtin", "skillId": "pdf"}
    if "oneOf" not in first:
        item = first.get("enum", ["x"])[0]
        yield from ([text] for text in texts(first))
        yield from ([item, text] for text in texts(part.get("additionalItems", first)))
    yield from ([item] * part["maxItems"], [item] * (part["maxItems"] + 1))


def with_value(path: Path, value: object) -> str:
    raw = base()
    table = raw
    for key in path[:-1]:
        table = table.setdefault(key, {})
    table[path[-1]] = value
    return toml(raw)


def toml(raw: Json) -> str:
    return "\n".join(toml_lines(raw)) + "\n"


def test_the_file_that_keys_are_tried_in_is_good() -> None:
    assert reader_says(toml(base()))
    assert schema_says(toml(base()))


@pytest.mark.parametrize(("path", "part"), KEYS, ids=[".".join(path) for path, _ in KEYS])
def test_the_reader_has_the_bounds_of_the_schema(path: Path, part: Json) -> None:
    told: set[bool] = set()
    for value in values(part):
        if path[-2:] in READERS_OWN and type(value) in (str, list) and value not in ("", []):
            continue
        if path[-1] == "warningThreshold" and isinstance(value, int | float) and value > 0.9:
            continue  # That it is less than `threshold` is the reader's alone.
        text = with_value(path, value)
        verdict = schema_says(text)
        assert reader_says(text) == verdict, text[:300]
        told.add(verdict)
    assert False in told

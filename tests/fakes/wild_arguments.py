"""Arguments of every kind for a tool: as its input schema wants them, and then spoilt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hypothesis import strategies as st

Arguments = dict[str, Any]
_Spoil = Callable[[Arguments], st.SearchStrategy[Arguments]]

ODD_TEXTS: Final = (
    "",
    " ",
    "\x00",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202egnp.exe",
    "' OR 1=1 --",
    "../../../etc/passwd",
    "${HOME}",
    "{{7*7}}",
    "null",
    "session:",
    "x" * 5_000,
)
_TEXT: Final = st.text(st.characters(codec="utf-8"), max_size=40)
_ODD: Final = st.sampled_from(ODD_TEXTS)
_LEAF: Final[st.SearchStrategy[Any]] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    _TEXT,
    _ODD,
)
ANYTHING: Final[st.SearchStrategy[Any]] = st.recursive(
    _LEAF,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_TEXT, inner, max_size=4)),
    max_leaves=12,
)


def arguments(schema: Mapping[str, Any], known: Sequence[str]) -> st.SearchStrategy[Arguments]:
    """Return arguments that fit the schema or nearly do; `known` are ids that name something."""
    fitting = _of_object(schema, schema, known)
    return st.one_of(fitting, fitting.flatmap(_spoilt(schema)))


def _of_object(
    schema: Mapping[str, Any], root: Mapping[str, Any], known: Sequence[str]
) -> st.SearchStrategy[Arguments]:
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
    required = schema.get("required", ())
    made = {name: _of(one, root, known) for name, one in properties.items()}
    return st.fixed_dictionaries(
        {name: one for name, one in made.items() if name in required},
        optional={name: one for name, one in made.items() if name not in required},
    )


def _of(
    schema: Mapping[str, Any], root: Mapping[str, Any], known: Sequence[str]
) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        return _of(root["$defs"][schema["$ref"].rpartition("/")[2]], root, known)
    if "anyOf" in schema:
        return st.one_of([_of(one, root, known) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "string":
            return _of_string(schema, known)
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum", 0), schema.get("maximum", 2**40))
        case "number":
            return st.floats(schema.get("minimum", 0), schema.get("maximum", 1))
        case "array":
            items = _of(schema.get("items", {}), root, known)
            return st.lists(items, max_size=min(schema.get("maxItems", 3), 3))
        case "object" if "properties" in schema:
            return _of_object(schema, root, known)
        case "object":
            return st.dictionaries(_TEXT, ANYTHING, max_size=3)
        case _:
            return ANYTHING


def _of_string(schema: Mapping[str, Any], known: Sequence[str]) -> st.SearchStrategy[str]:
    least, most = schema.get("minLength", 0), min(schema.get("maxLength", 40), 40)
    free = st.text(st.characters(codec="utf-8"), min_size=least, max_size=most)
    odd = [
        text for text in (*known, *ODD_TEXTS) if least <= len(text) <= schema.get("maxLength", 9**9)
    ]
    return st.one_of(free, st.sampled_from(odd)) if odd else free


def _spoilt(schema: Mapping[str, Any]) -> Callable[[Arguments], st.SearchStrategy[Arguments]]:
    names = sorted(schema.get("properties", {})) or ["nothing"]

    def spoil(given: Arguments) -> st.SearchStrategy[Arguments]:
        name = st.sampled_from(names)
        less = name.map(lambda one: {k: v for k, v in given.items() if k != one})
        other = st.tuples(name, ANYTHING).map(lambda pair: {**given, pair[0]: pair[1]})
        more = st.tuples(_TEXT, ANYTHING).map(lambda pair: {**given, pair[0]: pair[1]})
        return st.one_of(less, other, more)

    return spoil

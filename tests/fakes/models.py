"""Hypothesis strategies made from the models themselves, so that no field is forgotten."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Literal, NewType, Union, cast, get_args, get_origin

from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue

from perstack.domain.events import Body, Event

_PLAIN: dict[object, st.SearchStrategy[object]] = {
    str: st.text(),
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    NoneType: st.none(),
}


def json_values() -> st.SearchStrategy[JsonValue]:
    """Any JSON, with integers of any size."""
    plain = (
        st.none()
        | st.booleans()
        | st.integers(-(10**60), 10**60)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text()
    )
    return st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def events() -> st.SearchStrategy[Event]:
    """Any event, each type as often as any other."""
    union = get_args(Body)[0]
    # Not st.builds: it would add the aliases of the signature, which are the same fields again.
    fields: dict[str, st.SearchStrategy[object]] = {
        "seq": st.integers(0, 10**9),
        "timestamp": st.integers(0, 10**14),
        "job_id": st.just("job1"),
        "run_id": st.just("run1"),
        "expert_key": st.just("writer"),
        "step_number": st.integers(0, 10**6),
        "body": st.one_of([values_of(member) for member in get_args(union)]),
    }
    return st.fixed_dictionaries(fields).map(Event.model_validate)


def values_of(annotation: object) -> st.SearchStrategy[object]:
    """Return a strategy for any type that the domain's models use."""
    if annotation is JsonValue:
        return json_values()
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if isinstance(annotation, NewType):
        return values_of(annotation.__supertype__)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _models(annotation)
    return _composed(get_origin(annotation), get_args(annotation))


def _composed(origin: object, args: tuple[object, ...]) -> st.SearchStrategy[object]:
    if origin is Annotated:
        return values_of(args[0])
    if origin is Literal:
        return st.sampled_from(args)
    if origin is Union or origin is UnionType:
        return st.one_of([values_of(arg) for arg in args])
    if origin is tuple:
        return st.lists(values_of(args[0]), max_size=3).map(tuple)
    if origin is dict:
        keys = cast("st.SearchStrategy[str]", values_of(args[0]))
        return st.dictionaries(keys, values_of(args[1]), max_size=3)
    raise TypeError(origin)


def _models(model: type[BaseModel]) -> st.SearchStrategy[BaseModel]:
    fields = {name: values_of(info.annotation) for name, info in model.model_fields.items()}
    return st.fixed_dictionaries(fields).map(model.model_validate)

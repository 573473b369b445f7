"""Texts below the fields of a class, which are the fields' descriptions."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from inspect import cleandoc, getsource

Texts = Mapping[str, str]


def texts_of(class_: type) -> Texts:
    """Return what stands below each field of a class at the top of its module, by field.

    As pydantic's `use_attribute_docstrings`, which looks for the text of each class among all
    modules that are loaded: a millisecond each. Here each module is read once.
    """
    return _classes_of(class_.__module__).get(class_.__qualname__, {})


@cache
def _classes_of(module: str) -> Mapping[str, Texts]:
    try:
        tree = ast.parse(getsource(sys.modules[module]))
    except OSError:
        # Installed without its source: what clients read is shorter.
        return {}
    return {one.name: dict(_texts(one)) for one in tree.body if isinstance(one, ast.ClassDef)}


def _texts(class_: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in zip(class_.body, class_.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, cleandoc(text)
            case _:
                pass

"""Where the code of a server refuses, and in which words: read from the source, not from a list."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# What refuses, and which of its arguments is the reason.
_REFUSING: Final = {
    "refused": 0,
    "unfit": 0,
    "not_admitted": 0,
    "RegistryMissingError": 0,
    "refusal": 1,
}
_ANYTHING: Final = ".*"
_REST: Final = "(?:: .*)?"  # a hint may follow the reason

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Site:
    """A place that refuses. `words` is a pattern, None where the reason is made elsewhere."""

    place: str
    words: str | None

    def fits(self, reason: str) -> bool:
        """Tell whether that may be the reason that it gives."""
        return self.words is not None and re.fullmatch(self.words, reason, re.DOTALL) is not None

    @property
    def exactness(self) -> int:
        """How much of the reason is fixed."""
        return len((self.words or "").replace(_ANYTHING, ""))


def refusal_sites(files: Iterable[Path]) -> set[Site]:
    """Return all places that refuse."""
    return {site for file in files for site in sites_in(file.read_text(), file.stem)}


def sites_in(source: str, module: str) -> Iterator[Site]:
    """Yield the places of a module that refuse."""
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, Function):
            for node in ast.walk(function):
                yield from _sites_of(node, function, f"{module}.{function.name}")


def _sites_of(node: ast.AST, function: Function, place: str) -> Iterator[Site]:
    if isinstance(node, ast.arguments):
        # The words that buckets have of their own.
        for name, default in zip(node.kwonlyargs, node.kw_defaults, strict=True):
            if name.arg == "what" and (words := _words(default)) is not None:
                yield Site(place, words)
    if not isinstance(node, ast.Call):
        return
    for keyword in node.keywords:
        if keyword.arg == "what" and (words := _words(keyword.value)) is not None:
            yield Site(place, words)
    at = _REFUSING.get(_name(node.func))
    if at is None or len(node.args) <= at:
        return
    reason = node.args[at]
    words = _words(reason)
    if isinstance(reason, ast.Name):
        words = _assigned(function, reason.id)
        if words is None:
            return  # it passes a reason on
    yield Site(place, None if words is None else words + _REST)


def _name(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def _words(value: ast.expr | None) -> str | None:
    match value:
        case ast.Constant(value=str(text)):
            return re.escape(text)
        case ast.JoinedStr(values=parts):
            return "".join(_words(part) or _ANYTHING for part in parts)
        case _:
            return None


def _assigned(function: Function, name: str) -> str | None:
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)]) if target == name:
                return _words(node.value)
            case _:
                pass
    return None

"""No foreign text takes another way to the screen than `text` and `paint`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parents[3] / "tui" / "perstack_tui"
TREES: Final = {
    str(file.relative_to(PACKAGE)): ast.parse(file.read_text()) for file in PACKAGE.rglob("*.py")
}
# Textual's own widgets write what they are given. The field is a subclass that takes controls out.
WIDGETS: Final = {"Input", "TextArea"}
MADE_IN: Final = {"widgets/field.py"}
MARKUP: Final = {"from_markup", "to_content", "render_markup"}
TITLES: Final = {"border_title", "border_subtitle", "tooltip", "sub_title"}


def imported(tree: ast.AST, module: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(module):
            yield from (alias.name for alias in node.names)


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            yield str(name), node


def test_no_widget_of_the_toolkit_is_given_foreign_text() -> None:
    for file, tree in TREES.items():
        assert set(imported(tree, "textual.widgets")) <= WIDGETS, file
        called = {name for name, _ in calls(tree)}
        assert not called & WIDGETS or file in MADE_IN, file
        assert not called & MARKUP, file
        assert not {"Text", "Markdown", "Table"} & set(imported(tree, "rich")), file


def test_what_is_notified_is_inert_and_no_markup() -> None:
    for name, call in (found for tree in TREES.values() for found in calls(tree)):
        owner = call.func.value if isinstance(call.func, ast.Attribute) else call.func
        if name != "notify" or ast.unparse(owner) not in ("self", "app", "self.app"):
            continue
        text = call.args[0]
        assert isinstance(text, ast.Call), ast.unparse(call)
        assert ast.unparse(text.func) == "flat", ast.unparse(call)
        marks = [keyword.value for keyword in call.keywords if keyword.arg == "markup"]
        assert [ast.unparse(mark) for mark in marks] == ["False"], ast.unparse(call)


def test_no_border_of_the_toolkit_says_anything() -> None:
    targets = [
        target
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    named = {target.attr for target in targets if isinstance(target, ast.Attribute)}
    assert not named & TITLES


def test_the_files_are_found() -> None:
    assert len(TREES) > 50

"""Emphasis, code and links within one line of Markdown, as spans. Nothing is hidden by it.

Where a link leads is always shown. A line that is too long to be prose stays as it is, so that no
line can take long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from perstack_tui.state.lines import Span
from perstack_tui.state.wording import Role

LONGEST: Final = 1_000
_NEAR: Final = "{1,300}?"
_INLINE: Final = re.compile(
    rf"(?P<escape>\\[\\`*_{{}}\[\]()#+.!|~>-])"
    rf"|(?P<ticks>`+)(?!`)(?P<code>.{_NEAR})(?<!`)(?P=ticks)(?!`)"
    rf"|!?\[(?P<label>[^\[\]]{{0,300}})\]\((?P<target>[^()\s]{{1,500}})(?:\s\"[^\"]{{0,200}}\")?\)"
    rf"|<(?P<auto>(?:https?://|mailto:)[^<>\s]{{1,500}})>"
    rf"|(?P<url>https?://[^\s<>`\"]{{1,500}})"
    rf"|\*\*(?=\S)(?P<strong>.{_NEAR})(?<=\S)\*\*"
    rf"|(?<!\w)__(?=\S)(?P<bold>.{_NEAR})(?<=\S)__(?!\w)"
    rf"|(?<![\w*])\*(?=[^\s*])(?P<em>[^*]{_NEAR})(?<=\S)\*"
    rf"|(?<!\w)_(?=[^\s_])(?P<slant>[^_]{_NEAR})(?<=\S)_(?!\w)"
    rf"|~~(?=\S)(?P<struck>.{_NEAR})(?<=\S)~~"
)
_ROLES: Final[dict[str, Role]] = {
    "strong": "strong",
    "bold": "strong",
    "em": "emphasis",
    "slant": "emphasis",
    "struck": "muted",
}
_DEEPEST: Final = 4
_STARTS: Final = re.compile(r"[\\`*_\[<~]|https?:")


def inline(text: str, role: Role, depth: int = 0) -> list[Span]:
    """Return a line's spans; `role` is that of plain words. `text` is inert."""
    if len(text) > LONGEST or depth > _DEEPEST or not _STARTS.search(text):
        return [(text, role)]
    spans: list[Span] = []
    at = 0
    for found in _INLINE.finditer(text):
        if found.start() > at:
            spans.append((text[at : found.start()], role))
        spans += _shown(found, role, depth)
        at = found.end()
    if at < len(text):
        spans.append((text[at:], role))
    return spans


def _shown(found: re.Match[str], role: Role, depth: int) -> Iterator[Span]:
    kind = found.lastgroup
    if kind == "escape":
        yield found.group()[1:], role
    elif kind == "code":
        yield found["code"], "code"
    elif kind == "target":
        label, target = found["label"], found["target"]
        if label and label != target:
            yield from inline(label, "link", depth + 1)
            yield f" ({target})", "muted"
        else:
            yield target, "link"
    elif kind in ("auto", "url"):
        yield found[kind], "link"
    elif kind is not None:
        yield from inline(found[kind], _ROLES[kind], depth + 1)

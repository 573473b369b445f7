"""A change of `perstack.toml` before it is saved, as coloured lines."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import unified_diff
from itertools import islice
from typing import Final

from perstack_tui.state.lines import Line, line
from perstack_tui.state.wording import Role
from perstack_tui.text import wrap

_CONTEXT: Final = 3


def diff_lines(before: str, after: str, width: int) -> Iterator[Line]:
    """Yield what changes, with three lines around each change and the number of the first."""
    old, new = before.splitlines(), after.splitlines()
    # The first two lines would name the files.
    for said in islice(unified_diff(old, new, n=_CONTEXT, lineterm=""), 2, None):
        yield from _said(said, width)


def _said(said: str, width: int) -> Iterator[Line]:
    if said.startswith("@@"):
        place = said.split("+", 1)[1].split(" ")[0].split(",")[0]
        yield line((f"  line {place}", "muted"))
        return
    roles: dict[str, Role] = {"+": "added", "-": "removed"}
    sign, text = said[:1], said[1:]
    for part in wrap(text, width - 4) or ("",):
        yield line((f"  {sign} {part}", roles.get(sign, "muted")))
        sign = " "

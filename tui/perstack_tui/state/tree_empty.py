"""What the tree says where nothing has run yet, and how to begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from perstack_tui.state.lines import BLANK, Line, line, note

if TYPE_CHECKING:
    from perstack_tui.state.cockpit import CockpitState

_NOTHING: Final = (BLANK, note("Nothing has run here yet."), BLANK)
_DEFINED: Final = (
    line(("n", "accent"), (" starts an Expert. Runs that are", "muted")),
    note("started elsewhere in this folder appear"),
    note("here too."),
)
_UNDEFINED: Final = (
    note("Write a perstack.toml that defines an Expert"),
    line(("(6 Experts says how): then ", "muted"), ("n", "accent"), (" starts it.", "muted")),
)
_BROKEN: Final = (
    line(("✗ perstack.toml cannot be used", "fail")),
    note("(6 Experts says why). Once it is mended,"),
    line(("n", "accent"), (" starts an Expert.", "muted")),
)


def nothing_yet(state: CockpitState) -> Sequence[Line]:
    """Return what a user can do now who has run nothing here."""
    if state.can_start:
        return (*_NOTHING, *_DEFINED)
    return (*_NOTHING, *(_BROKEN if state.definitions.error else _UNDEFINED))

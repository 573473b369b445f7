"""Labels to jump by: one letter each while the letters last, then two."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from perstack_tui.state.layout import PaneName

# The home row first; nothing that looks like another letter comes early.
LETTERS: Final = "asdfghjklweruiopcvnmtybxzq"


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a label leads: a line of a pane, or with no key the pane itself."""

    pane: PaneName
    key: Hashable = None


def labels_for(spots: Sequence[Spot]) -> dict[str, Spot]:
    """Return a label for each spot, the first spots having the shortest; none begins another.

    At most 676 spots get one.
    """
    size = len(LETTERS)
    pairs = 0
    while size - pairs + pairs * size < len(spots) and pairs < size:
        pairs += 1
    single = [*LETTERS[: size - pairs]]
    double = [first + second for first in LETTERS[size - pairs :] for second in LETTERS]
    return dict(zip(single + double, spots, strict=False))


def narrowed(labels: dict[str, Spot], typed: str) -> dict[str, Spot]:
    """Return the labels that begin with what was typed."""
    return {label: spot for label, spot in labels.items() if label.startswith(typed)}

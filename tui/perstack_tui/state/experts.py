"""The Experts pane: what `perstack.toml` defines."""

from __future__ import annotations

from perstack_tui.ports.gateway import DefinitionsUpdate
from perstack_tui.state.lines import Line, line, note
from perstack_tui.text import flat


def expert_lines(definitions: DefinitionsUpdate) -> tuple[Line, ...]:
    """Return a line an Expert."""
    if not definitions.experts:
        return (note("No Expert is defined. Write a perstack.toml, or perstack start EXPERT."),)
    return tuple(
        line(
            (flat(expert.key), "text"),
            (f"@{flat(expert.version)} ", "muted"),
            (flat(expert.description), "muted"),
        )
        for expert in definitions.experts
    )

"""What is done with an Expert of the registry, from its list and from its card."""

from __future__ import annotations

from collections.abc import Callable

from perstack.domain.ids import ExpertKey
from perstack.domain.registry import RegistryExpert
from perstack_tui.deeds.items import why_not_act
from perstack_tui.ports.host import Host
from perstack_tui.screens.new_run import NewRunSheet
from perstack_tui.state.lines import Line, Span
from perstack_tui.text import flat


def run_it(host: Host, expert: RegistryExpert, started: Callable[[], None]) -> None:
    """Open the sheet that starts it, as the version that was looked at; `started` once it runs."""
    if (refused := why_not_run(host, expert)) is not None:
        host.tell(refused, "bad")
    else:
        host.open_sheet(NewRunSheet(host, ExpertKey(expert.key), started))


def why_not_run(host: Host, expert: RegistryExpert) -> str | None:
    """Return why it cannot be started here."""
    if (refused := why_not_act(host)) is not None:
        return refused
    if expert.status == "disabled":
        return f"{flat(expert.key)} is disabled: its owner has withdrawn it"
    return None


def key_line(*hints: tuple[str, str]) -> Line:
    """Return keys and what they do."""
    spans: list[Span] = []
    for key, word in hints:
        spans.append((f" {key}", "accent"))
        spans.append((f" {word} ", "muted"))
    return Line(tuple(spans))

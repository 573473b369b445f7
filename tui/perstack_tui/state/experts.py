"""The Experts pane: what `perstack.toml` defines, what its last save changed, who uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from perstack.domain.ids import ExpertKey
from perstack_tui.ports.gateway import DefinitionsUpdate, ExpertSummary
from perstack_tui.state.definition_words import change_words, diff_of
from perstack_tui.state.definitions import definitions_problem
from perstack_tui.state.filters import found_in
from perstack_tui.state.index import is_live
from perstack_tui.state.lines import Line, Span, line, note
from perstack_tui.state.wording import RISK_WORDS, Role, count_of
from perstack_tui.text import crop, flat, width_of

if TYPE_CHECKING:
    from perstack.config.definition_diff import ExpertDiff
    from perstack_tui.state.cockpit import CockpitState

_WIDE: Final = 60


@dataclass(frozen=True, slots=True)
class ExpertRow:
    """The key of an Expert's line."""

    key: ExpertKey

    @classmethod
    def of(cls, state: CockpitState) -> ExpertRow | None:
        """Return the selected line, the first until one is selected."""
        expert = selected_expert(state)
        return cls(expert.key) if expert is not None else None


def selected_expert(state: CockpitState) -> ExpertSummary | None:
    """Return the Expert that is selected in the pane."""
    shown = _shown(state)
    chosen = next((one for one in shown if one.key == state.expert_key), None)
    return chosen or next(iter(shown), None)


def experts_badge(definitions: DefinitionsUpdate) -> str:
    """Return how many there are, and whether the file is followed."""
    if definitions.error:
        return "✗ the file as it was before"
    name = definitions.path.name if definitions.path is not None else ""
    return f"{len(definitions.experts)} · {flat(name)}" if definitions.experts else flat(name)


def expert_lines(state: CockpitState, width: int) -> Sequence[Line]:
    """Return a line an Expert, and what is wrong with the file above them."""
    definitions = state.definitions
    problem = definitions_problem(definitions)
    lines = [line((f"✗ {problem}", "fail"))] if problem else []
    if not definitions.experts:
        if problem:
            return (*lines, note("Its Experts appear here once that is mended."))
        return (
            note("No Expert is defined. Write a perstack.toml with"),
            note('[experts.writer] and instruction = "…": it appears here.'),
        )
    shown = _shown(state)
    if not shown:
        return (*lines, note("No Expert matches the filter."))
    working = _working(state)
    return (*lines, *(_row(one, definitions, working.get(one.key, 0), width) for one in shown))


def _shown(state: CockpitState) -> list[ExpertSummary]:
    needle = state.filters.get("experts", "")
    return [one for one in state.definitions.experts if not needle or found_in(_words(one), needle)]


def _words(expert: ExpertSummary) -> str:
    return f"{expert.key} {expert.version} {expert.description}"


def _working(state: CockpitState) -> dict[ExpertKey, int]:
    found: dict[ExpertKey, int] = {}
    for run in state.index.runs.values():
        if is_live(run):
            found[run.expert_key] = found.get(run.expert_key, 0) + 1
    return found


def _row(expert: ExpertSummary, definitions: DefinitionsUpdate, working: int, width: int) -> Line:
    diff = diff_of(definitions, expert.key)
    sign: Span = ("  ", "muted")
    if diff is not None:
        sign = ("+ ", "added") if diff.change == "new" else ("~ ", "accent")
    name: tuple[Span, ...] = ((flat(expert.key), "text"), (_version(expert, diff), "muted"))
    used: tuple[Span, ...] = ((f"  ● {working}", "run"),) if working else ()
    left = (sign, *name, *used)
    room = width - sum(width_of(text) for text, _ in left) - 2
    gate: tuple[Span, ...] = ()
    if expert.gated and room > 12:
        risk: Role = "fail" if expert.risk == "high" else "need"
        gate = ((f"  {RISK_WORDS[expert.risk]} · gate", risk),)
        room -= width_of(gate[0][0])
    what, role = _what(expert, definitions, diff)
    told: tuple[Span, ...] = ()
    if width >= _WIDE and (said := flat(expert.description)):
        told = (("  ", "text"), (crop(said, max(0, room - width_of(what) - 2)), "muted"))
    shown: tuple[Span, ...] = ((f" {crop(what, room)}", role),) if room >= 6 else ()
    return Line((*left, *told), (*shown, *gate), ExpertRow(expert.key))


def _version(expert: ExpertSummary, diff: ExpertDiff | None) -> str:
    if diff is not None and diff.before_version not in (None, diff.after_version):
        return f"@{flat(diff.before_version or '')} → {flat(expert.version)}"
    return f"@{flat(expert.version)}"


def _what(expert: ExpertSummary, definitions: DefinitionsUpdate, diff: ExpertDiff | None) -> Span:
    """Return what the save changed, else the model and what it may use."""
    if diff is not None:
        power = " !" if diff.change == "changed" and diff.powers else ""
        return (f"{change_words(diff)}{power}", "need" if power else "accent")
    parts = [flat(expert.model or definitions.model)]
    parts += [count_of(len(expert.delegates), "delegate")] if expert.delegates else []
    servers = [name for name in expert.skills if not name.startswith("@perstack/")]
    parts += [count_of(len(servers), "skill")] if servers else []
    return (" · ".join(part for part in parts if part), "muted")

"""The single lines of the main screen: header, tabs, crumbs, notice, footer."""

from __future__ import annotations

from perstack_tui.actions import Action, footer_actions
from perstack_tui.ports.gateway import DefinitionsUpdate
from perstack_tui.state.cockpit import CockpitState, Tone
from perstack_tui.state.definitions import definitions_problem
from perstack_tui.state.inbox import headline
from perstack_tui.state.layout import PANES, TITLES, PaneName
from perstack_tui.state.lines import Line, Span, line
from perstack_tui.state.wording import (
    RISK_ROLES,
    RISK_WORDS,
    Role,
    clock_time,
    count_of,
    countdown,
    short_id,
    spent,
    tokens,
)
from perstack_tui.text import flat

_COUNTS: tuple[tuple[str, str, str, Role], ...] = (
    ("run", "●", "running", "run"),
    ("need", "▲", "need you", "need"),
    ("stall", "!", "stalled", "stall"),
    ("fail", "✗", "failed", "fail"),
)

_TONES: dict[Tone, tuple[str, Role]] = {
    "info": ("·", "text"),
    "good": ("✓", "done"),
    "bad": ("✗", "fail"),
}


def header_line(
    state: CockpitState, workspace: str, width: int, *, observing: bool = False
) -> Line:
    """Return the top line: where, what runs, who needs you, whether the model is a script."""
    spans: list[Span] = [(" ◆ perstack ", "accent"), (flat(workspace) + "  ", "strong")]
    counts = state.counts()
    for name, glyph, word, role in _COUNTS:
        number = counts[name]
        if number or name == "run":
            shown: Role = role if number else "muted"
            spans.append(
                (f" {glyph} {number} {word} " if width >= 100 else f" {glyph}{number}", shown)
            )
    right: list[Span] = []
    if observing:
        right.append((" observing ", "muted"))
    if state.is_scripted():
        right.append((" SCRIPTED MODEL ", "warn-chip"))
    if state.job is not None:
        used = f"{tokens(state.job.usage)} tok{spent(state.job.cost)}"
        right.append((f"  {used} ", "muted"))
    elif state.definitions.model:
        right.append((f"  {flat(state.definitions.model)} ", "muted"))
    return Line(tuple(spans), tuple(right))


def tabs_line(state: CockpitState, active: PaneName) -> Line:
    """Return the tabs of a narrow screen."""
    spans: list[Span] = []
    waiting = len(state.pending)
    for name in PANES:
        title = TITLES[name] + (f" ▲{waiting}" if name == "inbox" and waiting else "")
        role: Role = "need" if name == "inbox" and waiting else "muted"
        spans.append((f" {title} ", "chip" if name == active else role))
        spans.append((" ", "text"))
    return Line(tuple(spans))


def crumb_line(state: CockpitState) -> Line:
    """Return where the selection is, and what became of `perstack.toml`."""
    definitions = state.definitions
    if definitions.error is not None:
        return _definitions_error(definitions)
    spans: list[Span] = [(" jobs", "muted")]
    job, run = state.job, state.run
    if job is not None and run is not None:
        spans.append((f" › {flat(short_id(job.job_id))}", "muted"))
        path = state.index.path_to(run)
        for at, above in enumerate(path):
            role: Role = "text" if at == len(path) - 1 else "muted"
            spans.append((f" › {flat(above.expert_key)}", role))
        spans.append((f" › step {run.step_number}", "muted"))
    return Line(tuple(spans), _definitions_news(definitions))


def _definitions_error(definitions: DefinitionsUpdate) -> Line:
    place, found, what = definitions_problem(definitions).partition(": ")
    hint = f"  {definitions.error_hint}" if definitions.error_hint else ""
    kept = "  (the last good one stays in use)" if definitions.experts else ""
    return line(
        (f" ✗ {flat(place)}{found}", "fail"),
        (flat(what), "text"),
        (flat(hint) + kept, "muted"),
    )


def _definitions_news(definitions: DefinitionsUpdate) -> tuple[Span, ...]:
    if definitions.path is None or definitions.loaded_at is None:
        return ()
    name = flat(definitions.path.name)
    if definitions.changes:
        what = ", ".join(flat(change) for change in definitions.changes[:3])
        when = clock_time(definitions.loaded_at)
        return ((f" ~ {name} reloaded {when} · ", "muted"), (f"{what} ", "accent"))
    if definitions.warnings:
        return ((f" ! {name}: {flat(definitions.warnings[0])} ", "stall"),)
    return ((f" {name} · {count_of(len(definitions.experts), 'Expert')} ", "muted"),)


def notice_line(state: CockpitState, now_ms: int, *, inbox_shown: bool) -> Line:
    """Return the last message, else the most urgent item of an inbox that is out of sight."""
    if state.notice is not None:
        glyph, role = _TONES[state.notice.tone]
        return line((f" {glyph} ", role), (flat(state.notice.text), role))
    pending = state.pending
    if inbox_shown or not pending:
        return Line(())
    item = pending[0]
    more = f"+{len(pending) - 1} more · " if len(pending) > 1 else ""
    if item.question is not None:
        head: tuple[Span, ...] = ((" ▲ ASK  ", "need"),)
        left = ""
    else:
        gate = item.gate
        risk = gate.risk_level if gate is not None else "low"
        head = ((" ▲ ", "need"), (f"{RISK_WORDS[risk]:<5}", RISK_ROLES[risk]))
        left = countdown(gate.expires_at, now_ms) if gate is not None else ""
    right: tuple[Span, ...] = ((f"  {left} ", "need"), (f"{more}4 inbox ", "muted"))
    return Line((*head, (headline(item), "text")), right)


def footer_line(state: CockpitState, width: int, *, observing: bool = False) -> Line:
    """Return the keys that do something now, as many as fit; who only observes does little."""
    last = [action for action in footer_actions() if action.group == "program"]
    right: tuple[Span, ...] = tuple(span for action in last for span in _hint(action))
    room = width - sum(len(text) for text, _ in right) - 1
    spans: list[Span] = [(" 1-5", "accent"), (" pane  ", "muted")]
    room -= 11
    for action in footer_actions():
        if action in last or not _applies(action, state, observing=observing):
            continue
        hint = _hint(action)
        room -= sum(len(text) for text, _ in hint)
        if room < 0:
            break
        spans.extend(hint)
    return Line(tuple(spans), right)


def _hint(action: Action) -> tuple[Span, Span]:
    return (action.shown, "accent"), (f" {action.label}  ", "muted")


def _applies(action: Action, state: CockpitState, *, observing: bool) -> bool:
    if observing and action.group in ("work", "decide"):
        return False
    if action.id in ("approve", "reject"):
        return any(item.gate is not None for item in state.pending)
    if action.id == "stop":
        return state.job is not None and state.job.job_id in state.local_jobs
    if action.id == "reply":
        return state.run is not None
    return True

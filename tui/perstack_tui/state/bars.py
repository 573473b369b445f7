"""The single lines of the main screen: header, tabs, crumbs, notice, footer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from perstack.projection.money import cost_cell
from perstack_tui.actions import Action, footer_actions
from perstack_tui.ports.gateway import DefinitionsUpdate
from perstack_tui.settings import Settings
from perstack_tui.state.cockpit import CockpitState, Tone
from perstack_tui.state.definition_words import news_words
from perstack_tui.state.definitions import definitions_problem
from perstack_tui.state.held import held_words
from perstack_tui.state.inbox import headline
from perstack_tui.state.index import Index
from perstack_tui.state.keymap import Keymap
from perstack_tui.state.layout import PANES, TITLES, PaneName
from perstack_tui.state.lines import Line, Span, line
from perstack_tui.state.origin import processes
from perstack_tui.state.timeline import point_at
from perstack_tui.state.wording import (
    RISK_ROLES,
    RISK_WORDS,
    Role,
    clock_time,
    count_of,
    countdown,
    short_id,
    span_of_time,
    spent,
    tokens,
)
from perstack_tui.text import crop, flat, width_of

_COUNTS: Final[tuple[tuple[str, str, str, Role], ...]] = (
    ("run", "●", "running", "run"),
    ("need", "▲", "need you", "need"),
    ("stall", "!", "stalled", "stall"),
    ("fail", "✗", "failed", "fail"),
    ("limit", "■", "at a limit", "stop"),
)
_AS_SHIPPED: Final = Settings()
_LEAST_NAME: Final = 6
_SHORT: Final[Mapping[str, str]] = {
    "retry": "retry",
    "model": "model",
    "take": "new definition",
    "budget": "budget",
}
_WALL: Final = 160
_WIDE: Final = 100
_TONES: dict[Tone, tuple[str, Role]] = {
    "info": ("·", "text"),
    "good": ("✓", "done"),
    "bad": ("✗", "fail"),
}


def summary_line(state: CockpitState) -> Line:
    """Return all there is on a screen of one line: `▲2 ●4 !1 ✗1 $1.91`."""
    counts = state.counts()
    spans: list[Span] = []
    for name, glyph, _, role in sorted(_COUNTS, key=lambda one: one[0] != "need"):
        if counts[name] or name == "run":
            spans.append((f"{glyph}{counts[name]} ", role if counts[name] else "muted"))
    if state.job is not None:
        spans.append((cost_cell(state.job.cost), "text"))
    return Line(tuple(spans))


def header_line(
    state: CockpitState,
    workspace: str,
    width: int,
    now_ms: int = 0,
    settings: Settings = _AS_SHIPPED,
    *,
    observing: bool = False,
) -> Line:
    """Return the top line: where, what runs, who needs you, what it cost; on a wall, more."""
    spans: list[Span] = []
    counts = state.counts()
    for name, glyph, word, role in _COUNTS:
        number = counts[name]
        if number or name == "run":
            shown: Role = role if number else "muted"
            text = f" {glyph} {number} {word} " if width >= _WIDE else f" {glyph}{number}"
            spans.append((text, shown))
    right: list[Span] = []
    if observing:
        right.append((" observing ", "muted"))
    if state.is_scripted():
        right.append((" SCRIPTED MODEL ", "warn-chip"))
    right.extend(_money(state, width))
    if width >= _WALL and state.run is not None and state.run.context_window_usage is not None:
        share = f"{state.run.context_window_usage:.0%}"
        right.append((f"  ctx {share} {flat(state.run.expert_key)} ", "muted"))
    if width >= _WALL:
        right.append((f"  {_pulse(state, now_ms)}", "muted"))
    # A clock that stood still would lie, so there is one only while time is painted anyway.
    if width >= _WIDE and settings.motion and state.ticking:
        clock = clock_time(now_ms)
        right.append((f"  {clock if width >= _WALL else clock[:5]} ", "muted"))
    # A long name gives way to what is counted, since that is what needs somebody.
    brand = " ◆ perstack "
    taken = sum(width_of(text) for text, _ in (*spans, *right)) + width_of(brand) + 2
    name = crop(flat(workspace), max(_LEAST_NAME, width - taken))
    return Line(((brand, "accent"), (name + "  ", "strong"), *spans), tuple(right))


def _money(state: CockpitState, width: int) -> list[Span]:
    if state.job is None:
        model = flat(state.definitions.model)
        return [(f"  {model} ", "muted")] if model else []
    used = f"{tokens(state.job.usage)} tok{spent(state.job.cost)}"
    steps = f" · step {state.job.total_steps} of {state.job.max_steps}"
    return [(f"  {used}{steps if width >= _WALL and state.job.max_steps else ''} ", "muted")]


def _pulse(state: CockpitState, now_ms: int) -> str:
    """Return how many processes are at work, and how long ago the last of them was heard."""
    count = processes(state.index)
    if not count:
        return "nothing at work "
    heard = max((run.last_event_at for run in state.index.runs.values()), default=now_ms)
    word = "process" if count == 1 else "processes"
    return f"{count} {word} · live {span_of_time(now_ms - heard)} "


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


def crumb_line(state: CockpitState, now_ms: int = 0, width: int = 0) -> Line:
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
            spans.append((f" › {state.roster.name_of(above, 24)}", role))
        point = point_at(run, state.point) if state.point is not None else None
        at = f"{point.step_number} of " if point is not None else ""
        spans.append((f" › step {at}{run.step_number}", "muted"))
    news: tuple[Span, ...] = _definitions_news(definitions, state.index)
    quiet = not (definitions.changes or definitions.warnings)
    if quiet and _WIDE <= width < _WALL and processes(state.index):
        news = ((f" {_pulse(state, now_ms)}", "muted"),)
    return Line(tuple(spans), news)


def _definitions_error(definitions: DefinitionsUpdate) -> Line:
    place, found, what = definitions_problem(definitions).partition(": ")
    hint = f"  {definitions.error_hint}" if definitions.error_hint else ""
    kept = "  (the last good one stays in use)" if definitions.experts else ""
    return line(
        (f" ✗ {flat(place)}{found}", "fail"),
        (flat(what), "text"),
        (flat(hint) + kept, "muted"),
    )


def _definitions_news(definitions: DefinitionsUpdate, index: Index) -> tuple[Span, ...]:
    if definitions.path is None or definitions.loaded_at is None:
        return ()
    name = flat(definitions.path.name)
    if definitions.changes:
        told = ", ".join(flat(change) for change in definitions.changes[:3])
        what = news_words(definitions, index) or told
        when = clock_time(definitions.loaded_at)
        return ((f" ~ {name} reloaded {when} · ", "muted"), (f"{what} ", "accent"))
    if definitions.warnings:
        return ((f" ! {name}: {flat(definitions.warnings[0])} ", "stall"),)
    return ((f" {name} · {count_of(len(definitions.experts), 'Expert')} ", "muted"),)


def notice_line(
    state: CockpitState, now_ms: int, *, inbox_shown: bool, quiet: bool = False
) -> Line:
    """Return the last message, else the most urgent item of an inbox that is out of sight.

    `quiet`: the message is told elsewhere, above the sheet that is open.
    """
    if state.notice is not None and not quiet:
        glyph, role = _TONES[state.notice.tone]
        again = f"  ×{state.notice.times}" if state.notice.times > 1 else ""
        return line((f" {glyph} ", role), (flat(state.notice.text), role), (again, "muted"))
    pending = state.pending
    if inbox_shown or not pending:
        return Line(())
    item = pending[0]
    more = f"+{len(pending) - 1} more · " if len(pending) > 1 else ""
    if item.pause is not None:
        head: tuple[Span, ...] = ((" ■ LIMIT  ", "stop"),)
        left = ""
    elif item.question is not None:
        head = ((" ▲ ASK  ", "need"),)
        left = ""
    else:
        gate = item.gate
        risk = gate.risk_level if gate is not None else "low"
        head = ((" ▲ ", "need"), (f"{RISK_WORDS[risk]:<5}", RISK_ROLES[risk]))
        left = countdown(gate.expires_at, now_ms) if gate is not None else ""
    right: tuple[Span, ...] = ((f"  {left} ", "need"), (f"{more}4 inbox ", "muted"))
    return Line((*head, (headline(item), "text")), right)


def footer_line(
    state: CockpitState,
    width: int,
    possible: Callable[[str], bool] = lambda _: True,
    now_ms: int = 0,
) -> Line:
    """Return the keys that do something now, as many as fit, and what `u` would take back."""
    keymap = state.keymap
    last = [action for action in footer_actions() if action.group == "program"]
    right: list[Span] = [span for action in last for span in _hint(action, keymap)]
    undo = held_words(state.held, now_ms)
    if undo:
        right = [(f" {keymap.shown('undo')} {undo} ", "chip"), (" ", "text")]
    spans: list[Span] = []
    if state.size_class == "list" and state.pending:
        # There is no header that would say so.
        spans.append((f" ▲ {len(state.pending)} ", "need"))
    spans.extend(((" 1-6", "accent"), (" pane  ", "muted")))
    room = width - sum(width_of(text) for text, _ in right) - 12
    for action in sorted(footer_actions(), key=lambda one: one.id not in _called_for(state)):
        if action in last or not keymap.shown(action.id) or not possible(action.id):
            continue
        hint = _hint(action, keymap, _short_label(action, state))
        room -= sum(width_of(text) for text, _ in hint)
        if room < 0:
            break
        spans.extend(hint)
    return Line(tuple(spans), tuple(right))


def _hint(action: Action, keymap: Keymap, label: str = "") -> tuple[Span, Span]:
    return (keymap.shown(action.id), "accent"), (f" {label or action.label}  ", "muted")


def _called_for(state: CockpitState) -> tuple[str, ...]:
    """Return the actions that mend what stopped the selected run; they are named first."""
    run = state.run
    if run is None:
        return ()
    if run.paused is not None:
        return ("pause", "budget") if run.paused.by_limits else ("pause",)
    return {"limit": ("budget",), "fail": ("retry",)}.get(run.state, ())


def _short_label(action: Action, state: CockpitState) -> str:
    if action.id == "pause" and state.run is not None:
        above = state.index.path_to(state.run)
        return "resume" if any(run.paused is not None for run in above) else "pause"
    return _SHORT.get(action.id, action.label)


def keys_line(*hints: tuple[str, str]) -> Line:
    """Return the footer while something else than the panes has the keyboard: keys and words."""
    return Line(tuple(span for hint in hints for span in _key_and_word(*hint)))


def _key_and_word(key: str, word: str) -> tuple[Span, Span]:
    return (f" {key}", "accent"), (f" {word} ", "muted")

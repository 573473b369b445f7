"""What the palette offers: what can be done, where one can go, and what is not possible now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from perstack_tui.actions import ACTIONS, Action
from perstack_tui.ports.records import RECORD_KINDS
from perstack_tui.state.cockpit import CockpitState
from perstack_tui.state.filters import fuzzy_score
from perstack_tui.state.inbox import headline
from perstack_tui.state.lines import BLANK, Line, Span, note
from perstack_tui.state.shell import command, expert_form, gate_form, job_form, run_form
from perstack_tui.state.wording import LOOKS, short_id
from perstack_tui.text import cell, crop, flat, width_of

Part = Literal["recent", "here", "all", "places", "off"]
_HEADS: Final[dict[Part, str]] = {
    "recent": "┄ done last ┄",
    "here": "┄ with the selection ┄",
    "all": "┄ everywhere ┄",
    "places": "┄ go to ┄",
    "off": "┄ not available here ┄",
}
MOST_SHOWN: Final = 200
_ON_SELECTION: Final = frozenset(("open", "open_path", "edit", "copy", "follow"))
# What begins something new has nothing to do with what is selected.
_ANEW: Final = frozenset(("new_run", "compare_runtimes"))


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the palette: an action of the registry, or a place to go as typed behind `:`.

    `shell` is what does the same in a shell, empty when nothing does; `why_not` why it is off.
    """

    id: str
    label: str
    words: str
    action: str | None = None
    goes_to: str = ""
    keys: str = ""
    shell: str = ""
    about: str = ""
    part: Part = "all"
    why_not: str = ""


def entries_of(state: CockpitState, why_not: Callable[[str], str | None]) -> list[Entry]:
    """Return all entries, in the order in which they are shown while nothing is typed."""
    made = [_action_entry(action, state, why_not) for action in ACTIONS if action.palette]
    made.sort(key=lambda entry: ("here", "all", "places", "off").index(entry.part))
    can = [entry for entry in made if entry.part != "off"]
    off = [entry for entry in made if entry.part == "off"]
    every = [*can, *_places(state), *off]
    by_id = {entry.id: entry for entry in every}
    recent = [by_id[name] for name in state.recents if name in by_id and not by_id[name].why_not]
    chosen = {entry.id for entry in recent}
    return [_recent(entry) for entry in recent] + [e for e in every if e.id not in chosen]


def _recent(entry: Entry) -> Entry:
    return replace(entry, part="recent")


def _action_entry(
    action: Action, state: CockpitState, why_not: Callable[[str], str | None]
) -> Entry:
    reason = why_not(action.id)
    here = action.group in ("work", "decide", "time") or action.id in _ON_SELECTION
    on_selection = here and action.id not in _ANEW and state.run is not None
    label = action.label[:1].upper() + action.label[1:]
    about = _about(action, state) if on_selection and reason is None else ""
    return Entry(
        action.id,
        label + about,
        f"{label}{about} {action.help} {action.id}".casefold(),
        action=action.id,
        keys=state.keymap.shown(action.id),
        shell=_shell_form(action.id, state) if reason is None else "",
        about=action.help,
        part="off" if reason is not None else "here" if on_selection else "all",
        why_not=reason or "",
    )


def _about(action: Action, state: CockpitState) -> str:
    """Return what the action would be done to."""
    if action.group == "decide":
        return "" if state.item is None else f": {headline(state.item)[:60]}"
    return f": {flat(state.run.expert_key)}" if state.run is not None else ""


def _shell_form(action_id: str, state: CockpitState) -> str:
    run, job, item = state.run, state.job, state.item
    if action_id in ("approve", "reject") and item is not None and item.gate is not None:
        return gate_form(item.gate).replace(" approve ", f" {action_id} ", 1)
    if action_id == "new_run":
        return command("start", "EXPERT", "QUERY")
    if action_id == "compare_runtimes":
        return command("compare", "EXPERT", "QUERY", "--on", "perstack", "--on", "RUNTIME:MODEL")
    if run is None:
        return ""
    match action_id:
        case "reply" | "open" | "copy":
            return run_form(run, job)
        case "stop":
            return command("agent", "stop", "--id", run.run_id)
        case _:
            return ""


def _record_places() -> Iterable[Entry]:
    for kind in RECORD_KINDS:
        yield Entry(
            f"records {kind}",
            f"Go to {kind}",
            f"go to records {kind}",
            goes_to=f"records {kind}",
            keys=f":records {kind}" if kind == "agents" else f":{kind}",
            about="what the shared tables hold",
            part="places",
        )


def _places(state: CockpitState) -> Iterable[Entry]:
    yield from _record_places()
    for summary in state.definitions.experts:
        name = flat(summary.key)
        yield Entry(
            f"expert {name}",
            f"Go to Expert {name}",
            f"go to expert {name} {flat(summary.description)}".casefold(),
            goes_to=f"expert {summary.key}",
            keys=f":expert {name}",
            shell=expert_form(summary.key),
            about=flat(summary.description),
            part="places",
        )
    for job in state.index.view.jobs:
        name, word = flat(job.expert_key), LOOKS[job.state].word
        yield Entry(
            f"job {job.job_id}",
            f"Go to job {flat(short_id(job.job_id))} {name}",
            f"go to job {flat(job.job_id)} {name} {word}".casefold(),
            goes_to=f"job {job.job_id}",
            keys=f":job {flat(short_id(job.job_id))}",
            shell=job_form(job.job_id),
            about=word,
            part="places",
        )
        for run in job.runs:
            if run.run_id == job.coordinator_run_id:
                continue
            name, word = flat(run.expert_key), LOOKS[run.state].word
            yield Entry(
                f"run {run.run_id}",
                f"Go to run {flat(short_id(run.run_id))} {name}",
                f"go to run {flat(run.run_id)} {name} {word}".casefold(),
                goes_to=f"run {run.run_id}",
                keys=f":run {flat(short_id(run.run_id))}",
                shell=run_form(run, job),
                about=word,
                part="places",
            )


class Finder:
    """Finds among entries; what was found is where the next letter is looked for."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._all = list(entries)
        self._needle = ""
        self._found = self._all

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self._all)

    def find(self, needle: str) -> list[Entry]:
        """Return those that match, the best first; what is not possible comes last."""
        wanted = " ".join(needle.casefold().split())
        if not wanted:
            self._needle, self._found = "", self._all
            return self._all
        narrower = self._needle and wanted.startswith(self._needle)
        among = self._found if narrower else self._all
        scored: list[tuple[bool, bool, float, int, Entry]] = []
        for at, entry in enumerate(among):
            score, exact = _score(entry, wanted)
            if score:
                scored.append((not exact, bool(entry.why_not), -score, at, entry))
        # What was found keeps its first order, so that ties fall the same way at each letter.
        self._needle, self._found = wanted, [found[-1] for found in scored]
        # A guess never comes before what was meant, also when that is not possible now.
        if not all(guessed for guessed, *_ in scored):
            scored = [found for found in scored if not found[0]]
        scored.sort(key=lambda found: found[:4])
        return [found[-1] for found in scored]


def _score(entry: Entry, wanted: str) -> tuple[float, bool]:
    """Return how well an entry matches, 0 for not at all; and whether all words are in it."""
    total, exact = 0.5 if entry.part in ("recent", "here") else 0.0, True
    for word in wanted.split():
        score = fuzzy_score(entry.label.casefold(), word)
        if word in entry.label.casefold():
            total += score + 2
        elif word in entry.words:
            total += 2
        elif score:
            total, exact = total + score, False
        else:
            return 0.0, False
    return total, exact


def palette_lines(entries: Sequence[Entry], width: int, *, heads: bool) -> list[Line]:
    """Return at most 200 of `entries` as lines, each with its key, in groups where `heads`."""
    lines: list[Line] = []
    before: Part | None = None
    for entry in entries[:MOST_SHOWN]:
        part: Part = entry.part if heads or entry.part == "off" else "all"
        if part != before and (heads or part == "off"):
            lines += [BLANK, note(_HEADS[part])] if lines else [note(_HEADS[part])]
        before = part
        lines.append(_entry_line(entry, width))
    if len(entries) > MOST_SHOWN:
        lines.append(note(f"… {len(entries) - MOST_SHOWN} more: type to narrow"))
    return lines


def _entry_line(entry: Entry, width: int) -> Line:
    keys = crop(entry.keys, max(8, width // 3))
    room = max(8, width - width_of(keys) - 1)
    if entry.why_not:
        label = cell(entry.label, min(28, room)) + " "
        why = crop(flat(entry.why_not), max(4, room - width_of(label)))
        return Line(((label, "muted"), (why, "muted")), ((keys, "muted"),), entry.id)
    spans: list[Span] = [(crop(entry.label, room), "text")]
    left = room - width_of(entry.label) - 3
    if entry.about and left > 12:
        spans.append((f"  {crop(entry.about, left)}", "muted"))
    return Line(tuple(spans), ((" " + keys, "accent"),), entry.id)

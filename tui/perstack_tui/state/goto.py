"""What can be typed behind `:`, what it means, and how it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from perstack.domain.ids import JobId, RunId
from perstack.projection.views import JobView, PointView, RunView
from perstack_tui.actions import ACTIONS
from perstack_tui.ports.records import RECORD_KINDS
from perstack_tui.state.filters import best_of, fuzzy_score
from perstack_tui.state.index import Index
from perstack_tui.state.layout import PANES
from perstack_tui.state.wording import LOOKS, short_id
from perstack_tui.text import flat

Kind = Literal["pane", "job", "run", "expert", "theme", "mouse", "records", "action"]

# A pane's name means the pane, though there are records called agents, too.
_ALIASES: Final = {"q": "quit", "keys": "help", "exit": "quit", "h": "help", "?": "help"}
_WORDS: Final = ("job", "run", "expert", "theme", "mouse", "svg", "records")
MOST: Final = 400
SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Going:
    """Where to go. `at` is what stood behind `@`, `argument` the rest."""

    kind: Kind
    name: str
    argument: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """What there is to go to."""

    index: Index
    experts: tuple[str, ...] = ()
    themes: tuple[str, ...] = ()


def parse(text: str) -> Going | str:
    """Return where `text` leads, or in words why nowhere. It never raises."""
    verb, _, rest = text.strip().lstrip(":").strip().partition(" ")
    rest = rest.strip()
    verb = _ALIASES.get(verb.casefold(), verb.casefold())
    if not verb:
        return "say where: a pane, :job ID, :expert NAME, :tasks; tab completes"
    if verb in PANES:
        return Going("pane", verb, rest)
    if verb in ("job", "run"):
        return _addressed("job" if verb == "job" else "run", rest)
    if verb in ("expert", "theme"):
        if not rest and verb == "expert":
            return "which Expert? :expert NAME"
        return Going("expert" if verb == "expert" else "theme", rest)
    if verb == "mouse":
        if rest in ("on", "off", ""):
            return Going("mouse", rest)
        return "the mouse is on or off: :mouse off"
    if verb == "records":
        return _records(*rest.partition(" ")[::2])
    if verb in RECORD_KINDS:
        return Going("records", verb, rest)
    if verb in ("svg", *(action.id for action in ACTIONS)):
        return Going("action", verb, rest)
    return _unknown(verb)


def _addressed(kind: Literal["job", "run"], rest: str) -> Going | str:
    name, _, at = rest.partition("@")
    if not name.strip():
        return f"which {kind}? :{kind} ID, or its first characters"
    return Going(kind, name.strip(), at=at.strip())


def _records(kind: str, needle: str) -> Going | str:
    if kind in RECORD_KINDS:
        return Going("records", kind, needle.strip())
    near = best_of(RECORD_KINDS, kind)
    return f"there are no records {flat(kind)!r}" + (f"; did you mean {near}?" if near else "")


def _unknown(verb: str) -> str:
    near = best_of(verbs(), verb)
    return f"there is nothing called {flat(verb)!r}" + (f"; did you mean :{near}?" if near else "")


def verbs() -> tuple[str, ...]:
    """Return all first words, those that people type most first."""
    actions = [action.id for action in ACTIONS if action.palette and action.id[:5] != "pane_"]
    return tuple(dict.fromkeys((*PANES, *_WORDS, *RECORD_KINDS, *_ALIASES, *actions)))


# --- completion -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Completion:
    """What the text would be; `note` says what it is."""

    text: str
    note: str = ""


def completions(text: str, places: Places) -> tuple[Completion, ...]:
    """Return what the text may go on to, best first, at most fifty."""
    lead = text.lstrip().lstrip(":")
    verb, space, rest = lead.partition(" ")
    if not space:
        found = [Completion(name, "") for name in _ranked(verb, verbs())]
        return tuple(found[:SHOWN])
    if verb in ("agents", "tree"):
        done, _, last = rest.rpartition(" ")
        before = f"{verb} {done} " if done else f"{verb} "
        sign = "!" if last.startswith("!") else ""
        words = dict.fromkeys((*(look.word for look in LOOKS.values()), *places.experts))
        return _completed(before + sign, last.removeprefix("!"), ((word, "") for word in words))
    options: dict[str, Iterable[tuple[str, str]]] = {
        "job": _jobs(places.index),
        "run": _runs(places.index),
        "expert": ((name, "") for name in places.experts),
        "experts": ((name, "") for name in places.experts),
        "theme": ((name, "") for name in places.themes),
        "mouse": (("on", ""), ("off", "")),
        "inbox": (("high", "risk"), ("med", "risk"), ("low", "risk"), ("ask", "questions")),
        "records": ((kind, "") for kind in RECORD_KINDS),
    }
    return _completed(f"{verb} ", rest, options.get(verb, ()))


def _completed(
    before: str, typed: str, options: Iterable[tuple[str, str]]
) -> tuple[Completion, ...]:
    wanted = typed.casefold()
    scored: list[tuple[float, int, Completion]] = []
    for number, (name, words) in enumerate(options):
        score = fuzzy_score(f"{name} {words}".casefold(), wanted)
        if score:
            scored.append((-score if wanted else 0, number, Completion(before + name, words)))
        if number > MOST * 25:
            break
    return tuple(made for _, _, made in sorted(scored, key=lambda one: one[:2])[:SHOWN])


def _ranked(typed: str, names: Sequence[str]) -> list[str]:
    wanted = typed.casefold()
    scored = [(-fuzzy_score(name, wanted), at, name) for at, name in enumerate(names)]
    if not wanted:
        return list(names)
    return [name for score, _, name in sorted(scored) if score]


def _jobs(index: Index) -> Iterable[tuple[str, str]]:
    for job in index.view.jobs:
        yield flat(job.job_id), flat(f"{job.expert_key} {LOOKS[job.state].word}")


def _runs(index: Index) -> Iterable[tuple[str, str]]:
    for run in index.runs.values():
        yield flat(run.run_id), flat(f"{run.expert_key} {LOOKS[run.state].word}")


# --- finding --------------------------------------------------------------------------------


def find_job(index: Index, name: str) -> JobView | str:
    """Return the job whose id begins with `name`, or is of that Expert; else why there is none."""
    found = [job for job in index.view.jobs if _named(name, job.job_id, job.expert_key)]
    return found[0] if found else _missing("job", name, (job.job_id for job in index.view.jobs))


def find_run(index: Index, name: str) -> RunView | str:
    """Return the run whose id begins with `name`, or is of that Expert; else why there is none."""
    found = [run for run in index.runs.values() if _named(name, run.run_id, run.expert_key)]
    found.sort(key=lambda run: (not run.run_id.startswith(name), -run.started_at))
    return found[0] if found else _missing("run", name, index.runs)


def _named(name: str, own_id: JobId | RunId, expert: str) -> bool:
    bare = own_id.partition("-")[2]
    return own_id.startswith(name) or bare.startswith(name) or expert.casefold() == name.casefold()


def _missing(kind: str, name: str, ids: Iterable[str]) -> str:
    known = list(ids)
    near = best_of(known[:MOST], name)
    hint = f"; did you mean {flat(short_id(near))}?" if near else ""
    return f"there is no {kind} {flat(name[:40])!r} here{hint}"


def point_at(run: RunView, wanted: str) -> PointView | str:
    """Return the checkpoint at `14:00`, `14:00:30`, `#12` or `last`: the last one until then."""
    points = run.points
    if not points:
        return "it has no checkpoint yet"
    if wanted in ("last", "now"):
        return points[-1]
    if wanted.startswith("#"):
        return _at_step(points, wanted[1:])
    moment = _clock(wanted, points[-1].timestamp)
    if moment is None:
        return f"{flat(wanted[:20])!r} is no time: @14:00, @14:00:30, @#12 (a step) or @last"
    if moment > points[-1].timestamp and moment - _DAY >= points[0].timestamp:
        moment -= _DAY
    until = [point for point in points if point.timestamp <= moment]
    return until[-1] if until else points[0]


_DAY: Final = 86_400_000


def _at_step(points: Sequence[PointView], wanted: str) -> PointView | str:
    if not (wanted.isascii() and wanted.isdigit()):
        return "a step is a number: @#12"
    number = int(wanted[:9])
    until = [point for point in points if point.step_number <= number]
    return until[-1] if until else points[0]


def _clock(wanted: str, day_ms: int) -> int | None:
    """Return Unix ms of a time of day on the day of `day_ms`, None for what is no time."""
    parts = wanted.split(":")
    if len(parts) not in (2, 3) or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    hour, minute, second = (*(int(part[:3]) for part in parts), 59)[:3]
    if hour > 23 or minute > 59 or second > 59:
        return None
    day = time.localtime(day_ms / 1000)
    at = time.mktime((*day[:3], hour, minute, second, 0, 0, -1))
    return int(at * 1000) + 999

"""What is told to somebody who looks elsewhere: the window's title, and each event once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from perstack_tui.state.inbox import headline
from perstack_tui.state.wording import count_of
from perstack_tui.text import crop, flat

if TYPE_CHECKING:
    from perstack_tui.state.cockpit import CockpitState

Kind = Literal["gate", "question", "done", "failed"]
_HEADLINE: Final = 60
_COUNTS: Final[Mapping[Kind, tuple[str, str]]] = {
    "gate": ("approval", " waiting"),
    "question": ("question", " waiting"),
    "done": ("job", " completed"),
    "failed": ("job", " failed"),
}


def title_of(state: CockpitState, workspace: str) -> str:
    """Return `▲2 ●4 !1 ✗1 release-notes`, without counts that are nothing."""
    counts = state.counts()
    signs = (("▲", "need"), ("●", "run"), ("!", "stall"), ("✗", "fail"), ("■", "limit"))
    parts = [f"{sign}{counts[name]}" for sign, name in signs if counts[name]]
    return " ".join([*parts, flat(workspace)])


def working(state: CockpitState) -> bool:
    """Say whether runs are at work."""
    return state.counts()["run"] > 0


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that a person away would want to know, in words."""

    kind: Kind
    words: str


def happened(state: CockpitState) -> dict[Hashable, Happening] | None:
    """Return what waits and what has ended, by what it is; None before all was read once."""
    view = state.index.view
    if not view.caught_up:
        return None
    found: dict[Hashable, Happening] = {}
    for item in state.pending:
        kind: Kind = "gate" if item.key.kind == "gate" else "question"
        asked = item.question or item.gate
        who = flat(asked.expert_key) if asked is not None else ""
        found[item.key] = Happening(kind, f"{who}: {crop(flat(headline(item)), _HEADLINE)}")
    for job in view.jobs:
        if job.state in ("done", "fail", "lost"):
            ended: Kind = "done" if job.state == "done" else "failed"
            word = "completed" if ended == "done" else "failed"
            # A job goes on after its end: what ends is the run.
            found[(job.coordinator_run_id, ended)] = Happening(
                ended, f"{flat(job.expert_key)} {word}"
            )
    return found


@dataclass(slots=True)
class News:
    """Remembers what was there, so that each event is told once, and none of the past ones."""

    _known: frozenset[Hashable] | None = field(default=None)

    def take(self, now: Mapping[Hashable, Happening] | None, *, away: bool) -> str | None:
        """Return in words what is new to somebody who is `away`, None for nothing."""
        if now is None:
            return None
        before, self._known = self._known, frozenset(now)
        if before is None or not away:
            return None
        return _in_words([now[key] for key in now if key not in before])


def _in_words(news: list[Happening]) -> str | None:
    if not news:
        return None
    if len(news) == 1:
        return news[0].words
    counts = [
        count_of(number, noun) + what
        for kind, (noun, what) in _COUNTS.items()
        if (number := sum(each.kind == kind for each in news))
    ]
    return ", ".join(counts)


def moves(state: CockpitState, *, motion: bool) -> bool:
    """Say whether anything changes merely because time goes on; countdowns do in any case."""
    return state.ticking if motion else bool(state.pending)

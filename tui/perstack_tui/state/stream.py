"""The transcript of one run as lines, of which only those near the window are made.

Entries are numbered from 0 over the whole run. The last ones are in memory, earlier ones are read
back when somebody goes there. How many lines an entry takes is known once it was made; until then
it is guessed, and a window keeps its place by the entry that its first line is of.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, overload

from perstack.domain.ids import RunId, ToolCallId
from perstack.projection.views import EntryView, RunView
from perstack_tui.state.entry_lines import EntryKey, Manner, entry_lines, is_prose
from perstack_tui.state.heights import Heights
from perstack_tui.state.lines import BLANK, Line, note
from perstack_tui.state.markdown import Growing
from perstack_tui.state.past import Past
from perstack_tui.state.spans import marked, needle_pattern
from perstack_tui.state.wording import LIVE, LOOKS, short_id, spent, tokens
from perstack_tui.text import flat, wrap

READING: Final = (BLANK, note("Reading the history…"))
EMPTY: Final = (BLANK, note("Select a run to read it. Press n to start one."))
_ABSENT: Final = (note("… reading this back"),)
_ABSENT_GUESS: Final = 2
_MADE: Final = 1_000
_MARGIN: Final = 2
_THOUGHT_LINES: Final = 4
_MATCHES: Final = 2_000


class Live(Protocol):
    """What a model is saying right now."""

    @property
    def reasoning(self) -> str:
        """Reasoning so far."""
        ...

    @property
    def text(self) -> str:
        """Text so far."""
        ...

    @property
    def output(self) -> Mapping[ToolCallId, str]:
        """The end of what running calls print."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """Which lines are in view, so that these are made. `tails`: the last ones are."""

    top: int = 0
    height: int = 200
    tails: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """A line in terms that outlive wrapping: an entry, and which of its lines."""

    number: int
    line: int


class StreamLines(Sequence[Line]):
    """Lines of the selected run; `build` brings them up to date, then they are read as a list."""

    def __init__(self) -> None:
        self.past, self.needle, self.reading = Past(), "", False
        self._run_id: RunId | None = None
        self._manner = Manner(0)
        self._opened: frozenset[int] = frozenset()
        self._earlier = 0
        self._entries: tuple[EntryView, ...] = ()
        self._printed: dict[ToolCallId, str] = {}
        self._heights = Heights()
        self._made: dict[int, tuple[Line, ...]] = {}
        self._live: tuple[Line, ...] = ()
        self._growing = Growing()
        self._fixed: tuple[Line, ...] | None = EMPTY

    # ------------------------------------------------------------------ keeping up

    def build(
        self,
        run: RunView | None,
        live: Live | None,
        width: int,
        *,
        whole: bool = False,
        wraps: bool = True,
        times: bool = False,
        opened: frozenset[int] = frozenset(),
        window: Window | None = None,
    ) -> StreamLines:
        """Take in `run` and what it is saying; entries `opened` show everything."""
        window = window or Window()
        read = None if window.tails else self.anchor_at(window.top)
        self._fixed = (READING if self.reading else EMPTY) if run is None else None
        if run is None:
            self._run_id = None
            return self
        before = self._run_id
        over = run.state not in LIVE and run.paused is None
        manner = Manner(width, whole, wraps, times, over, _mending(run) if over else "")
        if run.run_id != self._run_id:
            self._begin(run.run_id)
        if manner != self._manner:
            self._manner = manner
            self._forget()
        self._reopen(opened)
        self._catch_up(run)
        self._hear(live)
        if not run.earlier and not run.entries and not self._live:
            self._fixed = (BLANK, note(_waiting_for(run)))
        if self._fixed is None:
            place = self.place_of(read) if run.run_id == before else None
            self._make_around(window, window.top if place is None else place)
        return self

    def _begin(self, run_id: RunId) -> None:
        self._run_id, self._growing, self.past = run_id, Growing(), Past()
        self._entries, self._earlier, self._opened = (), 0, frozenset()
        self._printed, self._live = {}, ()
        self._forget()

    def _forget(self) -> None:
        """Everything has to be wrapped anew; what was in view is, the rest when it is."""
        self._made, self._live = {}, ()
        self._heights = Heights()

    def _reopen(self, opened: frozenset[int]) -> None:
        for number in opened ^ self._opened:
            self._made.pop(number, None)
        self._opened = opened

    def _catch_up(self, run: RunView) -> None:
        old, first = self._entries, self._earlier
        self._entries, self._earlier = run.entries, run.earlier
        count = run.earlier + len(run.entries)
        if old is not run.entries:
            for number in range(max(first, run.earlier), min(first + len(old), count)):
                if old[number - first] is not run.entries[number - run.earlier]:
                    self._made.pop(number, None)
        if not len(self._heights):
            self._heights.append(0)
        # The last height is that of what is being said.
        last = len(self._heights) - 1
        if last < count:
            self._heights.set(last, self._guess(last))
            absent = max(0, run.earlier - last - 1)
            self._heights.extend(absent, _ABSENT_GUESS)
            for number in range(last + 1 + absent, count):
                self._heights.append(self._guess(number))
            self._heights.append(0)
        if last > count:
            self._forget()
            self._catch_up(run)

    def _guess(self, number: int) -> int:
        at = number - self._earlier
        if at < 0:
            return _ABSENT_GUESS
        entry = self._entries[at]
        if entry.kind in ("text", "query", "result") or self._manner.whole:
            room = max(1, self._manner.width)
            return 1 + len(entry.text) // room + entry.text.count("\n")
        return 1

    def _hear(self, live: Live | None) -> None:
        said = tuple(self._saying(live)) if live is not None else ()
        if said and self._is_compact(self.entry_count - 1):
            said = (BLANK, *said)
        self._live = said
        self._heights.set(len(self._heights) - 1, len(said))
        printed = dict(live.output) if live is not None else {}
        if printed == self._printed:
            return
        changed = {
            id_
            for id_ in printed.keys() | self._printed.keys()
            if printed.get(id_) != self._printed.get(id_)
        }
        self._printed = printed
        for at in range(len(self._entries) - 1, -1, -1):
            entry = self._entries[at]
            if entry.kind == "query":
                break
            if entry.tool_call_id in changed:
                self._made.pop(self._earlier + at, None)

    def _saying(self, live: Live) -> Iterator[Line]:
        width = self._manner.width
        if live.reasoning:
            yield note("thinking")
            rows = wrap(live.reasoning, width - 2)
            for text in rows if self._manner.whole else rows[-_THOUGHT_LINES:]:
                yield note("  " + text)
        if live.text:
            lines = self._growing.lines(live.text, max(1, width - 1), wraps=self._manner.wraps)
            *before, last = lines or [BLANK]
            yield from before
            yield Line((*last.left, ("▌", "accent")), last.right)

    # ------------------------------------------------------------------ making

    def _make_around(self, window: Window, top: int) -> None:
        """Make what is in view and a few windows around it, so that scrolling finds it made."""
        if len(self._made) > _MADE:
            self._made = {}
        margin = max(1, window.height) * _MARGIN
        if window.tails:
            self._make_back(len(self._heights) - 1, window.height + margin)
            return
        number, _ = self._heights.find(max(0, min(top, self._heights.total - 1)))
        self._make_back(number, margin)
        self._make_on(number, window.height + margin)

    def _make_back(self, number: int, lines: int) -> None:
        while number >= 0 and lines > 0:
            lines -= len(self._lines_of(number))
            number -= 1

    def _make_on(self, number: int, lines: int) -> None:
        while number < len(self._heights) and lines > 0:
            lines -= len(self._lines_of(number))
            number += 1

    def _lines_of(self, number: int) -> tuple[Line, ...]:
        if number >= len(self._heights) - 1:
            return self._live
        made = self._made.get(number)
        if made is None:
            entry = self.entry(number)
            if entry is None:
                self._heights.set(number, len(_ABSENT))
                return _ABSENT
            made = self._made[number] = entry_lines(
                entry,
                self._manner,
                key=EntryKey(number),
                opened=number in self._opened,
                printed=self._printed.get(entry.tool_call_id, "") if entry.tool_call_id else "",
                apart=self._is_compact(number - 1),
            )
        self._heights.set(number, len(made))
        return made

    def _is_compact(self, number: int) -> bool:
        """Say whether an entry that is in memory ends without a blank line."""
        at = number - self._earlier
        return 0 <= at < len(self._entries) and not is_prose(self._entries[at])

    def entry(self, number: int) -> EntryView | None:
        """Return entry `number`, None when there is none or it has to be read back first."""
        at = number - self._earlier
        if at < 0:
            return self.past.entry(number)
        return self._entries[at] if at < len(self._entries) else None

    @property
    def entry_count(self) -> int:
        """How many entries there are, with those that are not in memory."""
        return self._earlier + len(self._entries)

    # ------------------------------------------------------------------ reading

    def __len__(self) -> int:
        return self._heights.total if self._fixed is None else len(self._fixed)

    @overload
    def __getitem__(self, at: int) -> Line: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Line]: ...
    def __getitem__(self, at: int | slice) -> Line | Sequence[Line]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        if self._fixed is not None:
            return self._fixed[at]
        number, line = self._heights.find(at + len(self) if at < 0 else at)
        lines = self._lines_of(number)
        # An entry that is made only now may be shorter than it was thought to be.
        found = lines[line] if line < len(lines) else BLANK
        return marked(found, self.needle) if self.needle else found

    def __iter__(self) -> Iterator[Line]:
        if self._fixed is not None:
            yield from self._fixed
            return
        for number in range(len(self._heights)):
            yield from self._lines_of(number)

    def key_at(self, place: int) -> Hashable:
        """Return the entry that begins at `place`, where it was made and can be opened."""
        if self._fixed is not None or not 0 <= place < len(self):
            return None
        number, line = self._heights.find(place)
        made = self._made.get(number)
        return made[line].key if made is not None and line < len(made) else None

    def places_of(self, key: Hashable) -> Sequence[int]:
        """Return where the first line of the entry is."""
        if self._fixed is not None or not isinstance(key, EntryKey):
            return ()
        if not 0 <= key.number < len(self._heights) - 1:
            return ()
        return (self._heights.offset(key.number),)

    def anchor_at(self, place: int) -> Hashable:
        """Return the entry and the line of it that `place` shows."""
        if self._fixed is not None or not 0 <= place < len(self):
            return None
        return Place(*self._heights.find(place))

    def place_of(self, anchor: Hashable) -> int | None:
        """Return where a line is now; the entry's last one when it has become shorter."""
        if self._fixed is not None or not isinstance(anchor, Place):
            return None
        if anchor.number >= len(self._heights):
            return None
        height = self._heights[anchor.number]
        return self._heights.offset(anchor.number) + max(0, min(anchor.line, height - 1))

    def find(self, needle: str) -> list[int]:
        """Return the lines that hold `needle`, from top to bottom, of what is in memory."""
        if not needle or self._fixed is not None:
            return []
        pattern = needle_pattern(needle)
        found: list[tuple[int, int]] = []
        for at, entry in enumerate(self._entries):
            if not (pattern.search(entry.title) or pattern.search(entry.text)):
                continue
            for line, made in enumerate(self._lines_of(self._earlier + at)):
                if pattern.search("".join(text for text, _ in made.left)):
                    found.append((self._earlier + at, line))
            if len(found) > _MATCHES:
                break
        offsets = {number: self._heights.offset(number) for number, _ in found}
        return [offsets[number] + line for number, line in found]


def stream_title(run: RunView | None, leader: RunView | None = None) -> str:
    """Return what the pane's border says about the run, which may stand for its `leader`."""
    if run is None:
        return "5 Stream"
    of = f"{flat(leader.expert_key)} › " if leader is not None and leader is not run else ""
    return f"5 Stream · {of}{flat(run.expert_key)} · step {run.step_number}"


def stream_badge(run: RunView | None) -> str:
    """Return model, tokens and cost; a scripted model is named as such."""
    if run is None:
        return ""
    model = "SCRIPTED MODEL" if run.provider_name == "scripted" else flat(run.model)
    return f"{model} · {tokens(run.usage)} tok{spent(run.cost)}"


def stream_foot(run: RunView | None, *, following: bool, new: int) -> str:
    """Return what the lower border says: whether the end is followed, and what came since."""
    if run is None:
        return ""
    if following:
        return "follow"
    return f"↓ {new} new · G follows" if new > 0 else "G follows"


def _mending(run: RunView) -> str:
    """Return in words what goes on after an error of the run."""
    if run.parent_run_id is None:
        return "i goes on from its last checkpoint"
    return ". has it done again while its parent is at work; i speaks to its job"


def _waiting_for(run: RunView) -> str:
    look = LOOKS[run.state]
    return f"{look.glyph} {look.word} · nothing said yet · run {short_id(run.run_id)}"

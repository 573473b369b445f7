"""The registry as lines: a list that is searched, an Expert in full, a change of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from perstack_tui.ports.records import Column
from perstack_tui.state.lines import BLANK, Line, Rows, Span, line, note
from perstack_tui.state.records import fitted
from perstack_tui.state.wording import Role
from perstack_tui.text import cell, flat, wrap

if TYPE_CHECKING:
    from perstack.domain.registry import RegistryExpert, Status, VersionEntry
    from perstack_tui.ports.registry import Card, Shown

PAGE: Final = 50
_MORE_WITHIN: Final = 20
_GAP: Final = 2
_LISTED: Final = 200
_IN_SHORT: Final = 2_000
_LONGEST: Final = 50_000
_LABEL: Final = 13
_VALUE: Final = 12
"""What has less room than that beside its label stands below it."""
COLUMNS: Final = (
    Column("name", 20),
    Column("version", 8),
    Column("status", 12),
    Column("owner", 10),
    Column("description", 0),
    Column("tags", 14),
)
STATUS_LOOKS: Final[dict[Status, tuple[str, Role]]] = {
    "available": ("✓ available", "done"),
    "deprecated": ("! deprecated", "stall"),
    "disabled": ("✗ disabled", "fail"),
}
LinkKind = Literal["delegate", "version"]


@dataclass(frozen=True, slots=True)
class Link:
    """What enter reads next: a delegate, or another version. `key` is as the registry says it."""

    kind: LinkKind
    key: str


@dataclass(slots=True)
class Shelf:
    """The list. `total` is None until an answer came; `words` are those that are asked for.

    What was answered last stays until the next answer is there. `problem` says why there is none.
    """

    words: str = ""
    url: str = ""
    experts: tuple[RegistryExpert, ...] = ()
    total: int | None = None
    answered: str = ""
    key: str | None = None
    at: int = 0
    problem: str = ""
    hint: str = ""
    asking: bool = False

    @property
    def expert(self) -> RegistryExpert | None:
        """The Expert that is selected."""
        return next((one for one in self.experts if one.key == self.key), None)

    @property
    def wants_more(self) -> bool:
        """Whether the selection comes near the end of what was answered, and there is more."""
        loaded = len(self.experts)
        return self.total is not None and loaded < self.total and self.at >= loaded - _MORE_WITHIN

    def take(self, shown: Shown, words: str, *, more: bool) -> None:
        """Show an answer; what was selected stays so, else what now stands in its place is."""
        known = {one.key: one for one in self.experts} if more else {}
        fresh = {one.key: one for one in shown.experts if one.key not in known}
        self.experts = (*known.values(), *fresh.values())
        # A registry that counts more than it ever gives is not asked for ever.
        self.total = shown.total if fresh else len(self.experts)
        self.url, self.answered = shown.url, words
        self.problem = self.hint = ""
        keys = [one.key for one in self.experts]
        if self.key not in keys:
            self.key = keys[min(self.at, len(keys) - 1)] if keys else None
        self.choose(self.key)

    def choose(self, key: str | None) -> None:
        """Select an Expert."""
        self.key = key
        self.at = next((at for at, one in enumerate(self.experts) if one.key == key), 0)

    def fail(self, problem: str, hint: str) -> None:
        """Say why there is no answer."""
        self.problem, self.hint = problem, hint


def badge(shelf: Shelf) -> str:
    """Return how many there are, and by what words."""
    if shelf.total is None:
        return "" if shelf.problem else "asking"
    loaded = len(shelf.experts)
    count = f"{shelf.total}" if loaded >= shelf.total else f"{loaded} of {shelf.total}"
    return f"{count} with /{flat(shelf.answered)}" if shelf.answered else count


def list_lines(shelf: Shelf, width: int) -> Sequence[Line]:
    """Return the table; where there is nothing, why, and what to do."""
    if not shelf.experts:
        return [*_nothing(shelf, width)]
    room = fitted(COLUMNS, width)
    head = Line(
        tuple(
            (_spaced(at, cell(column.title, wide)), "muted")
            for at, (column, wide) in enumerate(zip(COLUMNS, room, strict=True))
            if wide
        )
    )

    def made(place: int) -> Line:
        expert = shelf.experts[place]
        cells = zip(_cells(expert), room, strict=True)
        return Line(
            tuple(
                (_spaced(at, cell(text[:1_000], wide)), role)
                for at, ((text, role), wide) in enumerate(cells)
                if wide
            ),
            key=expert.key,
        )

    return Rows([one.key for one in shelf.experts], made, (head,))


def _cells(expert: RegistryExpert) -> Sequence[Span]:
    return (
        (expert.name, "strong"),
        (expert.version, "text"),
        STATUS_LOOKS[expert.status],
        (expert.owned_by, "muted"),
        (expert.description or "", "text"),
        (", ".join(expert.tags), "muted"),
    )


def _spaced(at: int, text: str) -> str:
    return text if at == 0 else " " * _GAP + text


def _nothing(shelf: Shelf, width: int) -> Iterator[Line]:
    if shelf.problem:
        yield from (line((text, "strong")) for text in wrap(shelf.problem, width))
        yield from (line((text, "muted")) for text in wrap(shelf.hint, width) if shelf.hint)
        yield BLANK
        for text in wrap(
            "PERSTACK_API_BASE_URL, or perstackApiBaseUrl in perstack.toml, says where the "
            "registry is; perstack registry serve runs one of your own. r asks again.",
            width,
        ):
            yield line((text, "muted"))
    elif shelf.total is None:
        yield note("Asking the registry…")
    elif shelf.answered:
        yield note(f"Nothing in the registry has {flat(shelf.answered)!r}; esc shows all.")
    else:
        yield line(("The registry has no Experts yet.", "strong"))
        yield note("perstack publish EXPERT publishes one of this perstack.toml.")


def about_lines(shelf: Shelf, width: int) -> list[Line]:
    """Return a few lines about the Expert that is selected in the list."""
    expert = shelf.expert
    if expert is None:
        return []
    said = (expert.description or "No description.")[:_IN_SHORT]
    lines = [line((text, "text")) for text in wrap(said, width)]
    facts = (
        ("tags", ", ".join(expert.tags)),
        ("delegates to", ", ".join(expert.delegates)),
        ("skills", ", ".join(expert.skills)),
    )
    for name, said in facts:
        if said:
            lines += _labelled(name, said[:_IN_SHORT], "text", width)
    return lines


# --- an Expert in full ----------------------------------------------------------------------


@dataclass(slots=True)
class Step:
    """An Expert that was read, and the line that was the first in view as one left it."""

    card: Card
    top: int = 0


@dataclass(slots=True)
class Walk:
    """Which Experts were read on the way to the one that is shown, the last of them.

    `chosen` is the link that enter follows. `wanted` is what is asked for and not there yet.
    """

    way: list[Step] = field(default_factory=list[Step])
    chosen: Link | None = None
    wanted: str = ""
    problem: str = ""
    hint: str = ""
    _made: tuple[Card, int, list[Line]] | None = None

    @property
    def card(self) -> Card | None:
        """What is shown."""
        return self.way[-1].card if self.way else None

    def arrive(self, card: Card, *, left_at: int, instead: bool) -> None:
        """Show an Expert; `instead` of the one that was shown, else as the next on the way."""
        if self.way:
            self.way[-1].top = left_at
        if self.way and instead:
            self.way.pop()
        self.way.append(Step(card))
        self.wanted, self.chosen = "", None
        self.problem = self.hint = ""

    def back(self) -> Step | None:
        """Show the Expert before, if there is one."""
        if len(self.way) < 2:
            return None
        self.way.pop()
        self.wanted, self.chosen = "", None
        self.problem = self.hint = ""
        return self.way[-1]

    def lines(self, width: int) -> list[Line]:
        """Return the card, wrapped once for a width."""
        card = self.card
        if card is None:
            return []
        if self._made is None or self._made[0] is not card or self._made[1] != width:
            self._made = (card, width, [*card_lines(card, width)])
        return self._made[2]

    @property
    def links(self) -> list[Link]:
        """What can be read from here, from top to bottom."""
        return [] if self.card is None else [*_delegates(self.card), *_versions(self.card)]

    def fail(self, problem: str, hint: str) -> None:
        """Say why there is no answer."""
        self.problem, self.hint = problem, hint

    def step(self, by: int) -> Link | None:
        """Choose the next link, round and round."""
        links = self.links
        if not links:
            return None
        at = links.index(self.chosen) if self.chosen in links else -1 if by > 0 else 0
        self.chosen = links[(at + by) % len(links)]
        return self.chosen


def _delegates(card: Card) -> list[Link]:
    known = dict.fromkeys(card.expert.delegates[:_LISTED])
    return [Link("delegate", key) for key in known]


def _versions(card: Card) -> list[Link]:
    known = dict.fromkeys(each.version for each in card.versions.versions[:_LISTED])
    return [Link("version", f"{card.expert.name}@{version}") for version in known]


def card_lines(card: Card, width: int) -> Iterator[Line]:
    """Yield all of an Expert: what it is, starts, needs, delegates to, says; its versions."""
    from perstack.projection.expert_card import day_and_time

    expert = card.expert
    for text in wrap((expert.description or "No description.")[:_LONGEST], width):
        yield line((text, "strong"))
    yield BLANK
    status, role = STATUS_LOOKS[expert.status]
    yield from _labelled("key", expert.key, "text", width)
    yield from _labelled("owner", expert.owned_by, "text", width)
    yield from _labelled("status", status, role, width)
    yield from _labelled("tags", ", ".join(expert.tags[:_LISTED]) or "none", "text", width)
    yield from _labelled("published", f"{day_and_time(expert.created_at)} UTC", "text", width)
    yield from _labelled("registry", card.url, "text", width)
    yield from _labelled("integrity", expert.definition.integrity, "muted", width)
    yield from _linked(card, width)
    yield from _skills(expert, width)
    yield from _version_lines(card, width)
    yield from _heading("Instruction")
    said = expert.instruction.strip("\n")
    yield from (line((f"  {text}", "text")) for text in wrap(said[:_LONGEST], width - 2))
    if len(said) > _LONGEST:
        yield note(f"  and {len(said) - _LONGEST:,} characters more: perstack info shows all")


def _heading(title: str) -> Iterator[Line]:
    yield BLANK
    yield line((title, "heading"))


def _labelled(name: str, text: str, role: Role, width: int) -> list[Line]:
    text, beside = text.replace("\n", " "), width - _LABEL
    if beside < _VALUE:
        return [
            line((name, "muted")),
            *(line((f"  {each}", role)) for each in wrap(text, width - 2) or ("",)),
        ]
    first, *others = wrap(text, beside) or ("",)
    lines = [line((cell(name, _LABEL), "muted"), (first, role))]
    return [*lines, *(line((" " * _LABEL, "muted"), (each, role)) for each in others)]


def _linked(card: Card, width: int) -> Iterator[Line]:
    yield from _heading("Delegates")
    links = _delegates(card)
    if not links:
        yield note("  none: it works alone")
    for link in links:
        yield Line((("  → ", "accent"), (cell(link.key, max(8, width - 4)), "link")), key=link)
    if (more := len(card.expert.delegates) - _LISTED) > 0:
        yield note(f"    and {more:,} more: perstack info lists them")


def _skills(expert: RegistryExpert, width: int) -> Iterator[Line]:
    from perstack.projection.expert_card import skill_lines

    yield from _heading("Skills")
    if not expert.skills:
        yield note("  none besides the base tools")
    room = _LONGEST
    for name, skill in expert.skills.items():
        if room <= 0:
            yield note("  and more: perstack info shows all")
            return
        yield from (line((f"  {text}", "strong")) for text in wrap(name[:_IN_SHORT], width - 2))
        for said in skill_lines(skill):
            does = said.startswith(("starts", "connects to", "is given"))
            role: Role = "stall" if does else "text"
            shown = wrap(said[: max(0, room)], width - 4)
            yield from (line((f"    {text}", role)) for text in shown)
            room -= len(said)


def _version_lines(card: Card, width: int) -> Iterator[Line]:
    yield from _heading("Versions")
    known = {f"{card.expert.name}@{each.version}": each for each in card.versions.versions}
    for link in _versions(card):
        each = known[link.key]
        here = "› " if each.version == card.expert.version else "  "
        yield Line(((f"  {here}", "accent"), *_version(each, width - 4)), key=link)
    if (more := len(card.versions.versions) - _LISTED) > 0:
        yield note(f"    and {more:,} older: perstack versions lists them")


def _version(each: VersionEntry, width: int) -> Iterator[Span]:
    yield cell(each.version, min(14, max(6, width // 3))), "text"
    if each.status is not None:
        status, role = STATUS_LOOKS[each.status]
        yield f"  {cell(status, 12)}", role
    if each.tags:
        yield f"  {flat(', '.join(each.tags)[:200])}", "muted"

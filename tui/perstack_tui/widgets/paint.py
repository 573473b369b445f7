"""Lines to strips. The last gate before the terminal: nothing passes that is not inert."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.strip import Strip
from textual.widget import Widget

from perstack_tui.state.lines import Line, Span
from perstack_tui.state.wording import Role
from perstack_tui.text import ELLIPSIS, crop, flat
from perstack_tui.theme import Ink


class Inked(App[int]):
    """An app that says which ink its lines are painted with."""

    ink: Ink


def ink_of(widget: Widget) -> Ink:
    """Return the ink of the app that the widget is in."""
    app: object = widget.app  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(app, Inked):
        raise TypeError(f"{widget!r} is painted, so its app must be Inked")
    return app.ink


@dataclass(frozen=True, slots=True)
class Frame:
    """What a pane's border says: top left and right, bottom left and right."""

    title: str = ""
    badge: str = ""
    hints: str = ""
    foot: str = ""
    badge_role: Role = "muted"


def paint(
    ink: Ink, line: Line, width: int, *, selected: bool = False, focused: bool = False
) -> Strip:
    """Return `line` in exactly `width` cells; `right` is kept whole when `left` is too long."""

    def styled(role: Role) -> Style:
        return ink.style(role, selected=selected, focused=focused)

    def drawn(text: str) -> str:
        return flat(text) if line.exact else ink.glyphs.drawn(flat(text))

    right = [Segment(drawn(text), styled(role)) for text, role in line.right]
    room = width - sum(cell_len(segment.text) for segment in right)
    if room < 8 and right:
        right, room = [], width
    left = _fit([(drawn(text), role) for text, role in line.left], room)
    segments = [Segment(ink.glyphs.drawn(text), styled(role)) for text, role in left]
    gap = room - sum(cell_len(segment.text) for segment in segments)
    segments.append(Segment(" " * max(0, gap), styled("text")))
    return Strip([*segments, *right], width)


def _fit(spans: list[Span], room: int) -> list[Span]:
    """Crop so that the spans take at most `room` cells, the cut marked by an ellipsis."""
    kept: list[Span] = []
    for position, (text, role) in enumerate(spans):
        wide = cell_len(text)
        more = any(later.strip() for later, _ in spans[position + 1 :])
        if wide > room or (wide == room and more):
            cut = set_cell_size(text, max(0, room - 1)) + ELLIPSIS if more else crop(text, room)
            kept.append((cut[:] if room > 0 else "", role))
            return kept
        kept.append((text, role))
        room -= wide
    return kept


def edge(ink: Ink, frame: Frame, width: int, *, top: bool, focused: bool) -> Strip:
    """Return a pane's top or bottom border in `width` cells."""
    glyphs = ink.glyphs.heavy if focused else ink.glyphs.light
    style = ink.frame(focused=focused)
    corners = (glyphs[0], glyphs[2]) if top else (glyphs[4], glyphs[5])
    left, right = (frame.title, frame.badge) if top else (frame.hints, frame.foot)
    inner = max(0, width - 4)
    right_text = _label(ink, right, inner)
    left_text = _label(ink, left, inner - cell_len(right_text) - (1 if right_text else 0))
    fill = inner - cell_len(left_text) - cell_len(right_text)
    word: Role = "accent" if focused else "muted"
    badge: Role = frame.badge_role if top else word
    return Strip(
        [
            Segment(corners[0] + glyphs[1], style),
            Segment(left_text, ink.style(("strong" if focused else "text") if top else word)),
            Segment(glyphs[1] * max(0, fill), style),
            Segment(right_text, ink.style(badge)),
            Segment(glyphs[1] + corners[1], style),
        ],
        width,
    )


def _label(ink: Ink, text: str, room: int) -> str:
    if not text or room < 3:
        return ""
    return ink.glyphs.drawn(f" {crop(flat(text), room - 2)} ")


def walled(ink: Ink, body: Strip, *, focused: bool) -> Strip:
    """Return `body` between the left and right border."""
    glyph = (ink.glyphs.heavy if focused else ink.glyphs.light)[3]
    wall = Segment(glyph, ink.frame(focused=focused))
    space = Segment(" ", ink.style("text"))
    return Strip([wall, space, *body, space, wall], body.cell_length + 4)

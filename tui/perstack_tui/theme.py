"""Palettes from `perstack_themes` as Textual themes and as the styles of painted lines."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from rich.style import Style
from textual.theme import Theme

from perstack_tui.palettes import SHIPPED, Palette, load_palette
from perstack_tui.settings import Borders
from perstack_tui.state.glyphs import ROUND, SETS, Glyphs
from perstack_tui.state.wording import Role

__all__ = ["THEMES", "Ink", "Palette", "ink_for", "load_palette", "textual_theme"]

THEMES: Final = SHIPPED
# What a palette need not have a colour for is drawn in that of another role.
_LIKE: Final[dict[Role, str]] = {
    "line": "border",
    "heading": "accent",
    "emphasis": "text",
    "code": "text",
    "link": "accent",
    "added": "done",
    "removed": "fail",
}
_BOLD: Final[frozenset[Role]] = frozenset({"strong", "need", "chip", "warn-chip", "heading"})
_CHIPS: Final[dict[Role, str]] = {"chip": "accent", "warn-chip": "need", "match": "need"}


def textual_theme(palette: Palette, name: str) -> Theme:
    """Return what Textual's own widgets (the field) are coloured with, as the theme `name`."""

    def colour(key: str, otherwise: str = "default") -> str:
        found = palette.colours.get(key, otherwise)
        return found if found.startswith("#") else f"ansi_{found}"

    return Theme(
        name,
        primary=colour("accent"),
        secondary=colour("stop"),
        warning=colour("need"),
        error=colour("fail"),
        success=colour("done"),
        accent=colour("accent"),
        foreground=colour("text"),
        background=colour("background"),
        surface=colour("background"),
        panel=colour("panel"),
        dark=palette.dark,
        boost=None if _is_full(palette) else "ansi_default",
        ansi=not _is_full(palette),
        variables={
            "border": colour("border"),
            "border-blurred": colour("border"),
            "text-muted": colour("muted"),
            **(_cursor(palette) if _is_full(palette) else _REVERSED),
        },
    )


def _is_full(palette: Palette) -> bool:
    return bool(palette.colours) and not palette.is_ansi


def _cursor(palette: Palette) -> dict[str, str]:
    colours = palette.colours
    return {
        "input-cursor-background": colours["accent"],
        "input-cursor-foreground": colours.get("chip_text", colours["background"]),
        "input-selection-background": colours.get("selection", colours["panel"]),
    }


_PLAIN: Final = "ansi_default"
# Without colours of our own a cursor or a selection is the terminal's, the other way round.
_REVERSED: Final = {
    "ansi-background": _PLAIN,
    "ansi-foreground": _PLAIN,
    "block-cursor-foreground": _PLAIN,
    "block-cursor-background": _PLAIN,
    "input-cursor-background": _PLAIN,
    "input-cursor-foreground": _PLAIN,
    "input-cursor-text-style": "reverse",
    "input-selection-background": _PLAIN,
    "input-selection-foreground": _PLAIN,
    "screen-selection-background": _PLAIN,
    "screen-selection-foreground": _PLAIN,
}


class Ink:
    """The style of each role, on each ground, and the glyphs. One per palette and borders."""

    def __init__(self, palette: Palette, glyphs: Glyphs = ROUND) -> None:
        self.palette = palette
        self.glyphs = glyphs
        self._styles: dict[tuple[Role, bool, bool], Style] = {}

    def style(self, role: Role, *, selected: bool = False, focused: bool = False) -> Style:
        """Return the style of `role`, on the selection's ground when `selected`."""
        key = (role, selected, focused)
        found = self._styles.get(key)
        if found is None:
            found = self._styles[key] = self._make(role, selected, focused)
        return found

    def frame(self, *, focused: bool) -> Style:
        """Return the style of a pane's border."""
        colours = self.palette.colours
        colour = colours.get("accent" if focused else "border")
        return Style(color=colour, bgcolor=colours.get("background"), bold=focused)

    def _make(self, role: Role, selected: bool, focused: bool) -> Style:
        colours = self.palette.colours
        if role in _CHIPS:
            return self._chip(colours.get(_CHIPS[role]))
        ground = colours.get("panel" if role == "code" else "background")
        reverse, bold = False, role in _BOLD
        if selected:
            chosen = colours.get("selection" if focused else "selection_idle")
            # A palette without grounds turns the line round, or makes it bold.
            reverse, bold = chosen is None and focused, bold or (chosen is None and not focused)
            ground = chosen or ground
        # Turned round, every colour would be a ground of its own: the line is one piece instead.
        name = "text" if reverse else role
        colour = colours.get(name) or colours.get(_LIKE.get(name, "text"))
        return Style(
            color=colour,
            bgcolor=ground,
            bold=bold,
            italic=role == "emphasis",
            underline=role == "link",
            reverse=reverse,
        )

    def _chip(self, ground: str | None) -> Style:
        text = self.palette.colours.get("chip_text")
        if text is None or ground is None:
            return Style(color=ground, bold=True, reverse=True)
        return Style(color=text, bgcolor=ground, bold=True)


@lru_cache(maxsize=2 * len(SHIPPED))
def ink_for(name: str, borders: Borders = "round") -> Ink:
    """Return the ink of the shipped palette `name`."""
    return Ink(load_palette(name), SETS[borders])

"""Palettes from `perstack_themes` as Textual themes and as the styles of painted lines."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Final

from pydantic import TypeAdapter
from rich.style import Style
from textual.theme import Theme

from perstack.errors import UsageError
from perstack_tui.state.wording import Role

THEMES: Final = ("dark", "light", "mono")
_COLOURS: Final = TypeAdapter(dict[str, str])


@dataclass(frozen=True, slots=True)
class Palette:
    """A named set of colours; `colours` is empty for mono, which leaves all to the terminal."""

    name: str
    dark: bool
    colours: dict[str, str]


def load_palette(name: str) -> Palette:
    """Return the palette `name`.

    Raises:
        UsageError: there is none of that name.
    """
    if name == "mono":
        return Palette("perstack-mono", dark=True, colours={})
    if name not in THEMES:
        raise UsageError(f"no theme named {name!r}", hint=f"themes: {', '.join(THEMES)}")
    source = resources.files("perstack_themes").joinpath(f"{name}.toml").read_text("utf-8")
    data = tomllib.loads(source)
    colours = _COLOURS.validate_python(data["colours"])
    return Palette(str(data["name"]), dark=bool(data["dark"]), colours=colours)


def textual_theme(palette: Palette) -> Theme:
    """Return what Textual's own widgets (input, palette) are coloured with."""
    colours = palette.colours
    if not colours:
        return _colourless_theme(palette.name)
    return Theme(
        palette.name,
        primary=colours["accent"],
        secondary=colours["stop"],
        warning=colours["need"],
        error=colours["fail"],
        success=colours["done"],
        accent=colours["accent"],
        foreground=colours["text"],
        background=colours["background"],
        surface=colours["background"],
        panel=colours["panel"],
        dark=palette.dark,
        variables={
            "border": colours["border"],
            "border-blurred": colours["border"],
            "text-muted": colours["muted"],
            "input-cursor-background": colours["accent"],
            "input-cursor-foreground": colours["chip_text"],
            "input-selection-background": colours["selection"],
        },
    )


def _colourless_theme(name: str) -> Theme:
    plain = "ansi_default"
    return Theme(
        name,
        primary=plain,
        secondary=plain,
        warning=plain,
        error=plain,
        success=plain,
        accent=plain,
        foreground=plain,
        background=plain,
        surface=plain,
        panel=plain,
        boost=plain,
        ansi=True,
        variables={
            "ansi-background": plain,
            "ansi-foreground": plain,
            "border": plain,
            "border-blurred": plain,
            "block-cursor-foreground": plain,
            "block-cursor-background": plain,
            "input-cursor-background": plain,
            "input-cursor-foreground": plain,
            "input-cursor-text-style": "reverse",
            "input-selection-background": plain,
            "input-selection-foreground": plain,
            "screen-selection-background": plain,
            "screen-selection-foreground": plain,
        },
    )


class Ink:
    """The style of each role, on each ground. One per palette."""

    def __init__(self, palette: Palette) -> None:
        self.palette = palette
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
        if not colours:
            return Style(bold=focused)
        colour = colours["accent"] if focused else colours["border"]
        return Style(color=colour, bgcolor=colours["background"], bold=focused)

    def _make(self, role: Role, selected: bool, focused: bool) -> Style:
        colours = self.palette.colours
        bold = role in ("strong", "need", "chip", "warn-chip")
        if not colours:
            chip = role in ("chip", "warn-chip")
            return Style(
                bold=bold or (selected and not focused), reverse=chip or (selected and focused)
            )
        ground = colours["background"]
        if selected:
            ground = colours["selection" if focused else "selection_idle"]
        if role in ("chip", "warn-chip"):
            chip_ground = colours["accent" if role == "chip" else "need"]
            return Style(color=colours["chip_text"], bgcolor=chip_ground, bold=True)
        name = "border" if role == "line" else role
        return Style(color=colours[name], bgcolor=ground, bold=bold)


@lru_cache(maxsize=8)
def ink_for(name: str) -> Ink:
    """Return the ink of the palette `name`."""
    return Ink(load_palette(name))

"""Every shipped palette can be read."""

from __future__ import annotations

import pytest

from perstack.errors import UsageError
from perstack_tui.state.wording import LOOKS, Role
from perstack_tui.theme import THEMES, Ink, load_palette

TEXT_ROLES = ("text", "strong", "muted", "accent", *sorted({look.role for look in LOOKS.values()}))
GROUNDS = ("background", "panel", "selection", "selection_idle")


def luminance(colour: str) -> float:
    def linear(part: str) -> float:
        value = int(part, 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(colour[at : at + 2]) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [name for name in THEMES if name != "mono"])
@pytest.mark.parametrize("ground", GROUNDS)
def test_text_has_enough_contrast_on_every_ground(theme: str, ground: str) -> None:
    colours = load_palette(theme).colours
    weak = {
        role: round(contrast(colours[role], colours[ground]), 2)
        for role in TEXT_ROLES
        if contrast(colours[role], colours[ground]) < 4.5
    }
    assert not weak


@pytest.mark.parametrize("theme", [name for name in THEMES if name != "mono"])
def test_chips_have_enough_contrast(theme: str) -> None:
    colours = load_palette(theme).colours
    assert contrast(colours["chip_text"], colours["accent"]) >= 4.5
    assert contrast(colours["chip_text"], colours["need"]) >= 4.5


def test_mono_uses_no_colour_at_all() -> None:
    ink = Ink(load_palette("mono"))
    roles: tuple[Role, ...] = ("text", "muted", "accent", "need", "fail", "chip", "line")
    for role in roles:
        style = ink.style(role, selected=True, focused=True)
        assert style.color is None
        assert style.bgcolor is None


def test_states_differ_by_word_or_glyph_without_colour() -> None:
    shown = {(look.glyph, look.word) for look in LOOKS.values()}
    assert len(shown) == len(LOOKS)


def test_unknown_theme_names_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        load_palette("neon")
    assert "dark" in (caught.value.hint or "")

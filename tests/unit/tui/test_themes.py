"""Palettes: readable, told apart, and refused with the line that is wrong."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from perstack.errors import ConfigError, UsageError
from perstack_tui.palettes import GROUNDS, parse_palette, read_own
from perstack_tui.settings import in_short
from perstack_tui.state.wording import LOOKS, Role
from perstack_tui.theme import THEMES, Ink, ink_for, load_palette, textual_theme
from perstack_tui.wardrobe import Wardrobe

COLOURED = [name for name in THEMES if name not in ("mono", "terminal")]
STATES: list[Role] = sorted({look.role for look in LOOKS.values()})
TEXT_ROLES: tuple[Role, ...] = (
    *("text", "strong", "muted", "accent", "heading", "emphasis", "code", "link"),
    *("added", "removed", *STATES),
)
CHANGES: tuple[Role, Role] = ("added", "removed")
# How somebody without the green cones sees (Machado, Oliveira, Fernandes 2009, severity 1).
DEUTERANOPIA = (
    (0.367322, 0.860646, -0.227968),
    (0.280085, 0.672501, 0.047413),
    (-0.011820, 0.042940, 0.968881),
)
Linear = tuple[float, float, float]


def linear(colour: str) -> Linear:
    def part(at: int) -> float:
        value = int(colour[at : at + 2], 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    return part(1), part(3), part(5)


def luminance(colour: str) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def as_seen(light: Linear) -> Linear:
    red, green, blue = (
        min(1.0, max(0.0, sum(weight * part for weight, part in zip(row, light, strict=True))))
        for row in DEUTERANOPIA
    )
    return red, green, blue


def lab(light: Linear) -> Linear:
    red, green, blue = light

    def bent(value: float) -> float:
        return value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116

    x = bent((0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047)
    y = bent(0.2126 * red + 0.7152 * green + 0.0722 * blue)
    z = bent((0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def far(one: Linear, other: Linear) -> float:
    return sum((a - b) ** 2 for a, b in zip(lab(one), lab(other), strict=True)) ** 0.5


def shown(theme: str, role: Role, *, selected: bool = False, focused: bool = False) -> str:
    """Return the colour that the ink really paints the role with."""
    style = ink_for(theme).style(role, selected=selected, focused=focused)
    assert style.color is not None
    return style.color.name


@pytest.mark.parametrize("theme", COLOURED)
def test_every_role_has_enough_contrast_on_every_ground(theme: str) -> None:
    least = 7.0 if theme == "high-contrast" else 4.5
    colours = load_palette(theme).colours
    weak = {
        (role, ground): round(found, 2)
        for role in TEXT_ROLES
        for ground in GROUNDS
        if (found := contrast(shown(theme, role), colours[ground])) < least
    }
    assert not weak


@pytest.mark.parametrize("theme", COLOURED)
def test_chips_and_matches_have_enough_contrast(theme: str) -> None:
    roles: tuple[Role, ...] = ("chip", "warn-chip", "match")
    for role in roles:
        style = ink_for(theme).style(role)
        assert style.color is not None
        assert style.bgcolor is not None
        assert contrast(style.color.name, style.bgcolor.name) >= 4.5


@pytest.mark.parametrize("theme", COLOURED)
def test_states_are_told_apart_by_colour(theme: str) -> None:
    seen = {role: linear(shown(theme, role)) for role in STATES}
    near = {
        pair: round(found, 1)
        for pair in combinations(STATES, 2)
        if (found := far(seen[pair[0]], seen[pair[1]])) < 8
    }
    assert not near


def test_states_are_told_apart_by_eyes_without_green() -> None:
    seen = {role: as_seen(linear(shown("deuteranopia", role))) for role in STATES}
    near = {
        pair: round(found, 1)
        for pair in combinations(STATES, 2)
        if (found := far(seen[pair[0]], seen[pair[1]])) < 25
    }
    assert not near
    changed = (as_seen(linear(shown("deuteranopia", role))) for role in CHANGES)
    assert far(*changed) > 25


def test_the_usual_theme_shows_why_there_is_another_for_such_eyes() -> None:
    seen = [as_seen(linear(shown("dark", role))) for role in STATES]
    assert min(far(one, other) for one, other in combinations(seen, 2)) < 25


@pytest.mark.parametrize("theme", ["mono", "terminal"])
def test_themes_without_colours_of_their_own_use_none(theme: str) -> None:
    ink = ink_for(theme)
    others: tuple[Role, ...] = ("chip", "warn-chip", "match", "line")
    for role in (*TEXT_ROLES, *others):
        for selected, focused in ((False, False), (True, False), (True, True)):
            style = ink.style(role, selected=selected, focused=focused)
            for colour in (style.color, style.bgcolor):
                assert colour is None or colour.triplet is None
                assert colour is None or (theme == "terminal" and colour.name[0] != "#")


@pytest.mark.parametrize("theme", ["mono", "terminal"])
def test_selection_is_seen_without_a_ground(theme: str) -> None:
    ink = ink_for(theme)
    assert ink.style("text", selected=True, focused=True).reverse
    assert ink.style("text", selected=True).bold
    assert not ink.style("text").bold


def test_states_differ_by_word_or_glyph_without_colour() -> None:
    shown = {(look.glyph, look.word) for look in LOOKS.values()}
    assert len(shown) == len(LOOKS)


@pytest.mark.parametrize("theme", THEMES)
def test_every_theme_makes_one_for_the_toolkit(theme: str) -> None:
    made = textual_theme(load_palette(theme), "worn")
    assert made.name == "worn"
    assert made.ansi is (theme in ("mono", "terminal"))


def test_unknown_theme_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no theme named") as caught:
        load_palette("drak")
    assert "did you mean dark?" in (caught.value.hint or "")
    assert "terminal" in (caught.value.hint or "")


def test_theme_like_another_gives_only_what_differs() -> None:
    palette = parse_palette("mine", 'like = "light"\n[colours]\nneed = "#000080"', "mine.toml")
    light = load_palette("light")
    assert palette.colours == {**light.colours, "need": "#000080"}
    assert not palette.dark


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('like = "dark"\n[colours]\nneeed = "#000080"', "colours.neeed (line 3)"),
        ('like = "dark"\n[colours]\nneed = "#00008"', "colours.need (line 3)"),
        ('like = "drak"', 'like (line 1): is "drak"'),
        ('like = "dark"\nDark = true', "did you mean dark?"),
        ('[colours]\nneed = "red"', "has no background, panel"),
        ("dark = 3", "dark (line 1): is 3; it must be true or false"),
        ("colours = 3", "colours (line 1): is 3; it must be a table"),
        ("[colours", "mine.toml: "),
    ],
)
def test_mistake_in_a_theme_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_palette("mine", text, "mine.toml")
    assert said in in_short(caught.value)


def test_own_themes_are_read_and_mistakes_told_apart(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('like = "dark"\n[colours]\nrun = "cyan"')
    (tmp_path / "broken.toml").write_text("nonsense")
    (tmp_path / "dark.toml").write_text('like = "light"')
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    own, errors = read_own(tmp_path)
    assert list(own) == ["mine"]
    assert own["mine"].is_ansi
    assert len(errors) == 3
    assert read_own(tmp_path / "none") == ({}, [])


def test_wardrobe_makes_inks_anew_when_a_theme_changed() -> None:
    wardrobe = Wardrobe()
    first = parse_palette("mine", 'like = "dark"', "mine.toml")
    second = parse_palette("mine", 'like = "light"', "mine.toml")
    assert wardrobe.take({"mine": first})
    worn = wardrobe.ink("mine", "round")
    assert wardrobe.ink("mine", "round") is worn
    assert not wardrobe.take({"mine": first})
    assert wardrobe.take({"mine": second})
    assert wardrobe.ink("mine", "round") is not worn
    assert wardrobe.ink("mine", "ascii").glyphs.drawn("▲") == "^"
    assert wardrobe.names[-1] == "mine"


def test_ink_keeps_the_palette_it_was_made_of() -> None:
    assert isinstance(ink_for("dark"), Ink)
    assert ink_for("dark").palette is load_palette("dark")

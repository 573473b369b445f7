"""Palettes: those that come with the program and the user's own, read from TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, get_args

from perstack.config.report import Report, meant, shown
from perstack.errors import ConfigError, UsageError
from perstack_tui.state.wording import Role

SHIPPED: Final = ("dark", "light", "high-contrast", "deuteranopia", "terminal", "mono")
GROUNDS: Final = ("background", "panel", "selection", "selection_idle")
# Names of colours in a palette: the grounds, what is drawn on chips, and the roles that are text.
COLOUR_KEYS: Final = (
    *GROUNDS,
    "border",
    "chip_text",
    *(role for role in get_args(Role) if role not in ("line", "chip", "warn-chip", "match")),
)
_NEEDED: Final = (
    *("background", "panel", "border", "text", "strong", "muted", "accent"),
    *("run", "need", "stall", "fail", "done", "idle", "stop"),
)
_SIXTEEN: Final = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
ANSI_NAMES: Final = ("default", *_SIXTEEN, *(f"bright_{name}" for name in _SIXTEEN))
_HEX: Final = re.compile(r"#[0-9a-fA-F]{6}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_LARGEST: Final = 64_000
_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Palette:
    """A named set of colours, "#rrggbb" or a name of the terminal's; none at all for mono."""

    name: str
    dark: bool = True
    colours: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def is_ansi(self) -> bool:
        """Whether the terminal says what the colours look like."""
        return any(not colour.startswith("#") for colour in self.colours.values())


@lru_cache(maxsize=len(SHIPPED))
def load_palette(name: str) -> Palette:
    """Return the shipped palette `name`.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in SHIPPED:
        raise unknown_theme(name, SHIPPED)
    text = resources.files("perstack_themes").joinpath(f"{name}.toml").read_text("utf-8")
    return parse_palette(name, text, f"{name}.toml")


def unknown_theme(name: str, known: tuple[str, ...]) -> UsageError:
    """Return the error for a theme that there is not; it names those that there are."""
    guess = meant(name, known)
    hint = f"did you mean {guess}? " if guess else ""
    return UsageError(f"no theme named {shown(name)}", hint=f"{hint}themes: {', '.join(known)}")


def parse_palette(name: str, text: str, file: str) -> Palette:
    """Return the palette that `text`, the TOML of `file`, describes.

    `like = "dark"` takes what is not given from that shipped palette.

    Raises:
        ConfigError: names the file, and for each problem key, line and remedy.
    """
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: {error}", hint=f"correct {file} and save it") from None
    report = Report(file, text)
    base = _base(report, data)
    colours = {**base.colours, **_colours(report, data)}
    dark = data.get("dark", base.dark)
    if not isinstance(dark, bool):
        report.problem(("dark",), f"is {shown(dark)}", "it must be true or false")
    missing = [key for key in _NEEDED if key not in colours] if colours else []
    if missing:
        report.problem(("colours",), f"has no {', '.join(missing)}", 'or say like = "dark"')
    report.raise_problems()
    return Palette(name, bool(dark), colours)


def _base(report: Report, data: Mapping[str, Any]) -> Palette:
    for key in data.keys() - {"dark", "like", "colours"}:
        guess = meant(key, ("dark", "like", "colours"))
        report.problem((key,), "unknown key", f"did you mean {guess}?" if guess else None)
    like = data.get("like")
    if like is None:
        return Palette("")
    if like in SHIPPED:
        return load_palette(like)
    report.problem(("like",), f"is {shown(like)}", f"themes: {', '.join(SHIPPED)}")
    return Palette("")


def _colours(report: Report, data: Mapping[str, Any]) -> dict[str, str]:
    table: object = data.get("colours", {})
    if not isinstance(table, dict):
        report.problem(("colours",), f"is {shown(table)}", "it must be a table")
        return {}
    found: dict[str, str] = {}
    for key, colour in data.get("colours", {}).items():
        if key not in COLOUR_KEYS:
            guess = meant(key, COLOUR_KEYS)
            report.problem(
                ("colours", key), "unknown colour", f"did you mean {guess}?" if guess else None
            )
        elif isinstance(colour, str) and (_HEX.fullmatch(colour) or colour in ANSI_NAMES):
            found[key] = colour
        else:
            report.problem(
                ("colours", key), f"is {shown(colour)}", 'write "#rrggbb" or a name like "red"'
            )
    return found


def read_own(folder: Path) -> tuple[dict[str, Palette], list[ConfigError]]:
    """Read the user's palettes, a file each, named after it; what is wrong is told apart."""
    palettes: dict[str, Palette] = {}
    errors: list[ConfigError] = []
    try:
        files = sorted(folder.glob("*.toml"))[:_MOST]
    except OSError:
        return {}, []
    for file in files:
        try:
            palettes[file.stem] = _read(file)
        except ConfigError as error:
            errors.append(error)
    return palettes, errors


def _read(file: Path) -> Palette:
    if not _NAME.fullmatch(file.stem) or file.stem in SHIPPED:
        raise ConfigError(
            f"{shown(file.name)} cannot name a theme",
            hint="letters, digits, - and _, and none of the shipped names",
        )
    try:
        with file.open("rb") as opened:
            text = opened.read(_LARGEST).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{file.name} cannot be read: {reason}") from None
    return parse_palette(file.stem, text, file.name)

"""How the user wants the cockpit: `cockpit.toml` in the user's configuration folder."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from perstack.config.report import Report, meant, printable, shown
from perstack.errors import ConfigError

Borders = Literal["round", "ascii"]
Keys: TypeAlias = Mapping[str, tuple[str, ...]]
MAX_HOLD_S: Final = 60.0
_HOLD_S: Final = 3.0
_LARGEST: Final = 256_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What `cockpit.toml` says. `keys` maps action ids to keys, in Textual's names.

    `hold_s` is how long a decision can be taken back, 0 to 60 s.
    """

    theme: str = "dark"
    borders: Borders = "round"
    motion: bool = True
    mouse: bool = True
    notify: bool = True
    hold_s: float = _HOLD_S
    screen_reader: bool = False
    keys: Keys = field(default_factory=dict[str, tuple[str, ...]])


DEFAULT_FILE: Final = """\
# How the cockpit looks and behaves. Saved changes count at once; a mistake keeps what was before.

# A shipped theme (dark, light, high-contrast, deuteranopia, terminal, mono) or one of yours:
# themes/NAME.toml beside this file, with `like = "dark"` and the [colours] that differ.
# theme = "dark"

# Frames and signs: "round", or "ascii" for terminals and fonts that have no others.
# borders = "round"

# false freezes clocks and sparklines.
# motion = true

# false leaves the mouse to the terminal.
# mouse = true

# false: no bell and no notification when something waits for you and you are elsewhere.
# notify = true

# Seconds during which a decision can be taken back, 0 to 60.
# hold = 3

# true: a conversation in lines instead of a screen, for screen readers and braille displays.
# screen_reader = false

# Another key for an action: its name, then a key or several; "" takes the key away.
# [keys]
# new_run = "n"
# page_down = ["pagedown", "ctrl+d"]
"""


def auto_borders(environ: Mapping[str, str]) -> Borders:
    """Return "ascii" when the locale says that there is no UTF-8 here."""
    locale = next((environ[name] for name in _LOCALE if environ.get(name)), "")
    if locale in ("C", "POSIX"):
        return "ascii"
    _, named, charset = locale.partition(".")
    plain = charset.partition("@")[0].replace("-", "").lower()
    return "ascii" if named and plain != "utf8" else "round"


_LOCALE: Final = ("LC_ALL", "LC_CTYPE", "LANG")


def read_settings(file: Path, environ: Mapping[str, str]) -> Settings:
    """Return what `file` says; a file that there is not says nothing.

    Raises:
        ConfigError: it cannot be read, or says what cannot be used; names file, line and remedy.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(_LARGEST).decode("utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{file.name} cannot be read: {reason}") from None
    return parse_settings(text, file.name, environ)


def parse_settings(text: str, name: str, environ: Mapping[str, str]) -> Settings:
    """Return what the TOML `text` of the file `name` says.

    Raises:
        ConfigError: names each problem's key, line and remedy.
    """
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: {error}", hint=f"correct {name} and save it") from None
    return _Reader(Report(name, text), data).read(auto_borders(environ))


class _Reader:
    def __init__(self, report: Report, data: Mapping[str, Any]) -> None:
        self._report = report
        self._data = data

    def read(self, borders: Borders) -> Settings:
        self._refuse_unknown()
        settings = Settings(
            theme=self._text("theme", "dark"),
            borders=self._borders(borders),
            motion=self._switch("motion"),
            mouse=self._switch("mouse"),
            notify=self._switch("notify"),
            hold_s=self._hold(),
            screen_reader=self._switch("screen_reader", otherwise=False),
            keys=self._keys(),
        )
        self._report.raise_problems()
        return settings

    def _refuse_unknown(self) -> None:
        for key in self._data:
            if key not in _KEYS:
                guess = meant(key, _KEYS)
                hint = f"did you mean {guess}?" if guess else f"keys: {', '.join(_KEYS)}"
                self._report.problem((key,), "unknown key", hint)

    def _text(self, key: str, otherwise: str) -> str:
        value = self._data.get(key, otherwise)
        if isinstance(value, str) and value:
            return value
        self._report.problem((key,), f"is {shown(value)}", "write a name in quotes")
        return otherwise

    def _borders(self, otherwise: Borders) -> Borders:
        value = self._data.get("borders", "auto")
        for known in get_args(Borders):
            if value == known:
                return known
        if value != "auto":
            self._report.problem(("borders",), f"is {shown(value)}", "round, ascii or auto")
        return otherwise

    def _switch(self, key: str, *, otherwise: bool = True) -> bool:
        value = self._data.get(key, otherwise)
        if not isinstance(value, bool):
            self._report.problem((key,), f"is {shown(value)}", "it must be true or false")
        return value is True

    def _hold(self) -> float:
        value = self._data.get("hold", _HOLD_S)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and 0 <= value <= MAX_HOLD_S:
            return float(value)
        self._report.problem(("hold",), f"is {shown(value)}", "a number of seconds, 0 to 60")
        return _HOLD_S

    def _keys(self) -> Keys:
        table: object = self._data.get("keys", {})
        if not isinstance(table, dict):
            self._report.problem(("keys",), f"is {shown(table)}", "it must be a table")
            return {}
        found: dict[str, tuple[str, ...]] = {}
        for name, value in self._data.get("keys", {}).items():
            keys = _texts(value)
            if keys is None:
                self._report.problem(
                    ("keys", name), f"is {shown(value)}", "a key in quotes, or a list of them"
                )
            else:
                found[printable(name)] = keys
        return found


def _texts(value: Any) -> tuple[str, ...] | None:
    """Return a text or the texts of a list, without empty ones; None for anything else."""
    if isinstance(value, str):
        return (value,) if value else ()
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):  # pyright: ignore[reportUnknownVariableType]
        return None
    return tuple(str(each) for each in value if each)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


_KEYS: Final = (
    "theme",
    "borders",
    "motion",
    "mouse",
    "notify",
    "hold",
    "screen_reader",
    "keys",
)


def in_short(error: ConfigError) -> str:
    """Return the first problem on one line, with its remedy and how many more there are."""
    from perstack.config.report import RefusedConfigError

    if not isinstance(error, RefusedConfigError):
        return f"{error.message} - {error.hint}" if error.hint else error.message
    file = error.message.partition(": ")[0]
    more = len(error.problems) - 1
    return f"{file}: {error.problems[0].with_hint()}" + (f" (and {more} more)" if more else "")

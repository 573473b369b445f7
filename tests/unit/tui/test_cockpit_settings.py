"""`cockpit.toml`: what it says, and what is said about mistakes in it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.errors import ConfigError
from perstack_tui.places import places_of
from perstack_tui.settings import (
    DEFAULT_FILE,
    Settings,
    auto_borders,
    in_short,
    parse_settings,
    read_settings,
)

UTF8 = {"LANG": "en_US.UTF-8"}


def told(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "cockpit.toml", UTF8)
    return in_short(caught.value)


def test_everything_can_be_said() -> None:
    text = """
theme = "light"
borders = "ascii"
motion = false
mouse = false
notify = false
hold = 0.5
[keys]
quit = "Q"
page_down = ["pagedown", "ctrl+d"]
stop = ""
"""
    keys = {"quit": ("Q",), "page_down": ("pagedown", "ctrl+d"), "stop": ()}
    assert parse_settings(text, "f", UTF8) == Settings(
        "light", "ascii", motion=False, mouse=False, notify=False, hold_s=0.5, keys=keys
    )


def test_file_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "cockpit.toml", UTF8) == Settings()


def test_default_file_says_what_holds_without_it() -> None:
    assert parse_settings(DEFAULT_FILE, "f", UTF8) == Settings()
    lines = [line.removeprefix("# ") for line in DEFAULT_FILE.splitlines()]
    spoken = "\n".join(
        line for line in lines if (" = " in line and "`" not in line) or line == "[keys]"
    )
    assert parse_settings(spoken, "f", UTF8).theme == "dark"
    assert set(tomllib.loads(spoken)) == {
        *("theme", "borders", "motion", "mouse", "notify", "hold", "screen_reader", "keys")
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('\nthem = "light"', "them (line 2): unknown key; did you mean theme?"),
        ("motion = 1", "motion (line 1): is 1; it must be true or false"),
        ("\n\nhold = 90", "hold (line 3): is 90; a number of seconds, 0 to 60"),
        ("hold = true", "hold (line 1): is true; a number of seconds, 0 to 60"),
        ("hold = nan", "hold (line 1): is a number without end; a number of seconds, 0 to 60"),
        ('borders = "thick"', 'borders (line 1): is "thick"; round, ascii or auto'),
        ("[keys]\nquit = 3", "keys.quit (line 2): is 3; a key in quotes, or a list of them"),
        ("keys = 3", "keys (line 1): is 3; it must be a table"),
        ("theme = light", "at line 1"),
        ('mouse = "\\u001b[31m"', 'is "\\x1b[31m"'),
    ],
)
def test_mistake_is_named_with_its_line_and_remedy(text: str, said: str) -> None:
    message = told(text)
    assert message.startswith("cockpit.toml: ")
    assert said in message


def test_several_mistakes_are_counted() -> None:
    assert told("motion = 1\nmouse = 2\nhold = 99").endswith("(and 2 more)")


@given(st.text(max_size=200))
def test_any_text_is_settings_or_a_named_mistake(text: str) -> None:
    try:
        parse_settings(text, "cockpit.toml", UTF8)
    except ConfigError as error:
        said = in_short(error)
    else:
        said = ""
    assert all(sign.isprintable() or sign == "\n" for sign in said)


@pytest.mark.parametrize(
    ("environ", "borders"),
    [
        ({}, "round"),
        ({"LANG": "en_US.UTF-8"}, "round"),
        ({"LANG": "C.utf8"}, "round"),
        ({"LANG": "ja_JP.eucJP"}, "ascii"),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, "ascii"),
        ({"LC_ALL": "", "LC_CTYPE": "de_DE.ISO-8859-1@euro"}, "ascii"),
    ],
)
def test_locale_without_utf8_gets_ascii_borders(environ: dict[str, str], borders: str) -> None:
    assert auto_borders(environ) == borders


def test_files_are_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    places = places_of(Path("/w/notes"), {})
    assert places.settings == tmp_path / "config/perstack/cockpit.toml"
    assert places.themes == tmp_path / "config/perstack/themes"
    assert places.session.parent == tmp_path / "state/perstack/cockpit"
    assert places.session != places_of(Path("/w/other"), {}).session
    named = places_of(Path("/w"), {"PERSTACK_COCKPIT_CONFIG": "/etc/cockpit.toml"})
    assert named.settings == Path("/etc/cockpit.toml")

"""The keys of the cockpit: defaults, the user's over them, and what is wrong with those."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.keys import _character_to_key  # pyright: ignore[reportPrivateUsage]

from perstack_tui.actions import ACTIONS, BY_ID, is_deed
from perstack_tui.state.keymap import canonical, default_keymap, keymap_of, shown_key, why_not_key


def test_every_action_has_words_and_a_key_or_none_on_purpose() -> None:
    for action in ACTIONS:
        assert action.label, action.id
        assert action.help, action.id
        assert action.keys or action.palette or action.id == "next_match"
    assert len(BY_ID) == len(ACTIONS)


def test_defaults_clash_nowhere_and_use_no_key_that_terminals_take() -> None:
    owners: dict[str, set[str]] = {}
    for action in ACTIONS:
        for key in default_keymap().keys[action.id]:
            owners.setdefault(key, set()).add(action.id)
    assert not {key: names for key, names in owners.items() if len(names) > 1}
    assert default_keymap().problems == ()
    for action in ACTIONS:
        for key in action.keys.split(",") if action.keys else ():
            assert why_not_key(key) is None or action.id == "interrupt", key


@pytest.mark.parametrize("code", range(33, 127))
def test_keys_are_named_as_the_toolkit_names_them(code: int) -> None:
    sign = chr(code)
    assert canonical(sign) == _character_to_key(sign)
    assert shown_key(_character_to_key(sign)) == sign


def test_shifted_letter_is_one_key_however_the_terminal_says_it() -> None:
    assert canonical("shift+j") == canonical("J") == "J"
    assert canonical("ctrl+J") == canonical("shift+ctrl+j") == "ctrl+shift+j"
    assert canonical("ctrl++") == canonical("ctrl+plus") == "ctrl+plus"


def test_users_key_does_its_action_and_no_longer_the_one_that_had_it() -> None:
    keymap = keymap_of({"stop": ("d",)})
    assert keymap.action("d") == "stop"
    assert keymap.action("x") is None
    assert keymap.shown("stop") == "d"
    assert keymap.shown("diff") == ""
    assert [
        problem for problem in keymap.problems if "stop (stop)" in problem and "diff" in problem
    ]


def test_action_that_loses_one_of_its_keys_keeps_the_other() -> None:
    keymap = keymap_of({"pause": ("j",)})
    assert keymap.action("down") == "down"
    assert keymap.shown("down") == "↓"
    assert "keeps ↓" in keymap.problems[0]


def test_key_given_to_two_actions_does_neither_and_names_both() -> None:
    keymap = keymap_of({"stop": ("E",), "pause": ("shift+e", "z")})
    assert keymap.action("E") is None
    said = keymap.clash("E")
    assert said is not None
    assert "stop" in said
    assert "pause" in said
    assert keymap.action("z") == "pause"


def test_two_actions_may_change_places() -> None:
    keymap = keymap_of({"down": ("k",), "up": ("j",)})
    assert (keymap.action("k"), keymap.action("j")) == ("down", "up")
    assert keymap.problems == ()


def test_empty_key_takes_the_action_off_the_keyboard() -> None:
    keymap = keymap_of({"stop": ("",), "pause": ()})
    assert keymap.action("x") is None
    assert keymap.shown("stop") == keymap.shown("pause") == ""
    assert keymap.problems == ()


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("ctrl+h", "backspace"),
        ("ctrl+i", "tab"),
        ("ctrl+m", "enter"),
        ("ctrl+[", "escape"),
        ("ctrl+\\", "kill"),
        ("ctrl+s", "output"),
        ("ctrl+b", "multiplexers"),
        ("alt+3", "tabs"),
        ("ctrl+c", "leaves"),
        ("ctlr+x", "no key"),
        ("pagedwn", "did you mean 'pagedown'"),
    ],
)
def test_key_that_cannot_be_used_is_refused_with_the_reason(key: str, why: str) -> None:
    keymap = keymap_of({"stop": (key,)})
    assert why in keymap.problems[0]
    assert keymap.problems[0].startswith("stop: ")


def test_unknown_action_says_what_is_near_and_the_way_out_stays() -> None:
    assert "did you mean 'stop'" in keymap_of({"stopp": ("x",)}).problems[0]
    keymap = keymap_of({"interrupt": ("x",)})
    assert "way out" in keymap.problems[0]
    assert keymap.action("ctrl+c") == "interrupt"


@given(
    st.dictionaries(
        st.one_of(st.sampled_from(sorted(BY_ID)), st.text(max_size=12)),
        st.lists(st.one_of(st.sampled_from("abcxyz?/ +"), st.text(max_size=12)), max_size=3),
        max_size=8,
    )
)
def test_no_map_of_keys_raises_or_gives_a_key_to_two_actions(wanted: dict[str, list[str]]) -> None:
    keymap = keymap_of(wanted)
    owned = [key for keys in keymap.keys.values() for key in keys]
    assert len(owned) == len(set(owned))
    for action in ACTIONS:
        keymap.shown(action.id)
    assert keymap.action("ctrl+c") == "interrupt"


def test_what_does_something_waits_for_a_quiet_keyboard_and_looking_does_not() -> None:
    deeds = {action.id for action in ACTIONS if is_deed(action.id)}
    assert {"approve", "reject", "stop", "pause", "reply", "open", "quit"} <= deeds
    assert not {"down", "help", "filter", "jump", "goto", "copy", "zoom_in"} & deeds

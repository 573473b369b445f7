"""Which key does what: the defaults and what the user wrote into `[keys]` of `cockpit.toml`."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from perstack_tui.actions import ACTIONS, BY_ID
from perstack_tui.text import flat

# Always there: the way out may not be lost by a slip in a file.
FIXED: Final = "interrupt"
_RENAMED: Final = {
    "solidus": "slash",
    "reverse_solidus": "backslash",
    "commercial_at": "at",
    "hyphen_minus": "minus",
    "plus_sign": "plus",
    "low_line": "underscore",
}
_MODIFIERS: Final = ("ctrl", "alt", "shift", "super", "meta", "hyper")
_NAMED: Final = frozenset(
    (
        *("enter", "escape", "tab", "space", "backspace", "delete", "insert", "home", "end"),
        *("pageup", "pagedown", "up", "down", "left", "right"),
        *(f"f{number}" for number in range(1, 25)),
    )
)
_SPELT: Final = {
    "return": "enter",
    "esc": "escape",
    "del": "delete",
    "ins": "insert",
    "pgup": "pageup",
    "page_up": "pageup",
    "pgdn": "pagedown",
    "page_down": "pagedown",
    "⏎": "enter",
    "↑": "up",
    "↓": "down",
    "←": "left",
    "→": "right",
}
_WORDS: Final = {
    "enter": "⏎",
    "escape": "esc",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "delete": "del",
    "insert": "ins",
    "backspace": "bksp",
}
_TMUX: Final = "terminal multiplexers take it"
_BANNED: Final = {
    "ctrl+a": _TMUX,
    "ctrl+b": _TMUX,
    "ctrl+c": "it leaves, whatever happens",
    "ctrl+h": "terminals send it for backspace",
    "ctrl+i": "it is the tab key",
    "ctrl+j": "it is the enter key",
    "ctrl+m": "it is the enter key",
    "ctrl+q": "terminals stop and start their output with it",
    "ctrl+s": "terminals stop and start their output with it",
    "ctrl+left_square_bracket": "it is the escape key",
    "ctrl+backslash": "terminals kill programs with it",
}
_DIGIT_WITH_ALT: Final = "terminals change their tabs with alt and a digit"


@dataclass(frozen=True, slots=True)
class Keymap:
    """`keys` by action in canonical names; `taken` says which action a key does.

    `clashes` are keys that the user gave to several actions: they do none of them. `problems` are
    what is wrong with the user's map, in words.
    """

    keys: Mapping[str, tuple[str, ...]]
    taken: Mapping[str, str]
    clashes: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    problems: tuple[str, ...] = ()
    changed: frozenset[str] = frozenset()

    def action(self, key: str) -> str | None:
        """Return the action that `key` (as Textual names it) does, None when it does none."""
        return self.taken.get(canonical(key))

    def clash(self, key: str) -> str | None:
        """Return in words why `key` does nothing though it was given to something."""
        among = self.clashes.get(canonical(key))
        return None if among is None else _clash_words(canonical(key), among)

    def lost(self, key: str) -> str | None:
        """Return in words that `key` did something before it was taken off the keyboard."""
        wanted = canonical(key)
        for name, usual in default_keymap().keys.items():
            if wanted in usual and name in self.changed:
                label = BY_ID[name].label
                return f"{shown_key(wanted)} does nothing: {name} ({label}) was taken off it"
        return None

    def shown(self, action_id: str) -> str:
        """Return the action's keys as a person reads them, empty when it has none."""
        if action_id not in self.changed:
            return BY_ID[action_id].shown
        return " ".join(shown_key(key) for key in self.keys[action_id][:2])


@lru_cache(maxsize=1024)
def canonical(key: str) -> str:
    """Return the one name of a key: `+` and `plus` are one, `shift+j` and `J`, too."""
    parts = key.strip().split("+") if len(key.strip()) > 1 else [key.strip()]
    if key.strip().endswith("++"):
        parts = [*key.strip()[:-2].split("+"), "+"]
    base = parts[-1]
    if len(base) == 1 and not base.isalnum():
        base = _named(base)
    base = _SPELT.get(base.lower(), base) if len(base) > 1 else base
    base = base.lower() if len(base) > 1 else base
    modifiers = {part.lower() for part in parts[:-1]}
    if not modifiers <= set(_MODIFIERS):
        return "+".join([*sorted(modifiers), base])
    if len(base) == 1 and base.isalpha():
        if modifiers == {"shift"}:
            return base.upper()
        if modifiers and base.isupper():
            modifiers, base = modifiers | {"shift"}, base.lower()
    return "+".join([*(name for name in _MODIFIERS if name in modifiers), base])


def _named(character: str) -> str:
    if character == " ":
        return "space"
    name = unicodedata.name(character, "").lower().replace("-", "_").replace(" ", "_")
    return _RENAMED.get(name, name)


def shown_key(key: str) -> str:
    """Return a key as a person reads it: `^p`, `?`, `⇧tab`, `alt+x`."""
    *modifiers, base = canonical(key).split("+")
    text = _WORDS.get(base) or _character(base) or base
    for name in reversed(modifiers):
        text = {"ctrl": "^", "shift": "⇧"}.get(name, f"{name}+") + text
    return text


def _character(base: str) -> str | None:
    """Return the character of a key's name: `slash` gives `/`."""
    if len(base) == 1:
        return base
    return _characters().get(base)


@lru_cache(maxsize=1)
def _characters() -> dict[str, str]:
    printable = [chr(code) for code in range(33, 127)]
    return {_named(sign): sign for sign in printable if not sign.isalnum()}


def why_not_key(key: str) -> str | None:
    """Return why a key cannot be used, None when it can."""
    wanted = canonical(key)
    *modifiers, base = wanted.split("+")
    if any(name not in _MODIFIERS for name in modifiers) or not _is_key(base):
        near = difflib.get_close_matches(base, [*_NAMED, *_characters()], 1, 0.6)
        return f"there is no key {flat(key)!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    if wanted in _BANNED:
        return f"{shown_key(wanted)} cannot be used: {_BANNED[wanted]}"
    if "alt" in modifiers and base.isdigit():
        return f"{shown_key(wanted)} cannot be used: {_DIGIT_WITH_ALT}"
    return None


def _is_key(base: str) -> bool:
    if len(base) == 1:
        return base.isprintable() and not base.isspace()
    return base in _NAMED or base in _characters()


@lru_cache(maxsize=1)
def default_keymap() -> Keymap:
    """Return the keys of `actions.py`."""
    return keymap_of({})


def keymap_of(wanted: Mapping[str, Iterable[str]]) -> Keymap:
    """Return the defaults with the user's keys over them; what is wrong is left out and told.

    A key of the user's is taken from the action that has it by default. One that the user gave to
    several actions does none of them: both stay in the palette.
    """
    problems: list[str] = []
    keys = {
        action.id: tuple(dict.fromkeys(canonical(key) for key in action.keys.split(",") if key))
        for action in ACTIONS
    }
    given: dict[str, tuple[str, ...]] = {}
    for name, chosen in wanted.items():
        if (refused := _why_not_action(name)) is not None:
            problems.append(refused)
        else:
            given[name] = _usable(name, chosen, problems)
    owners: dict[str, list[str]] = {}
    for name, usable in given.items():
        for key in usable:
            owners.setdefault(key, []).append(name)
    clashes = {key: tuple(names) for key, names in owners.items() if len(names) > 1}
    problems += [_clash_words(key, names) for key, names in clashes.items()]
    changed = set(given)
    for name, usual in keys.items():
        if name not in given:
            lost = [key for key in usual if key in owners]
            keys[name] = tuple(key for key in usual if key not in owners)
            changed |= {name} if lost else set()
            problems += [_taken_words(key, owners[key], name, keys[name]) for key in lost]
        else:
            keys[name] = tuple(key for key in given[name] if key not in clashes)
    taken = {key: name for name, own in keys.items() for key in own}
    return Keymap(keys, taken, clashes, tuple(problems), frozenset(changed))


def _why_not_action(name: str) -> str | None:
    if name == FIXED:
        return f"{FIXED} keeps ^c, so that there is always a way out"
    if name in BY_ID:
        return None
    near = difflib.get_close_matches(name, BY_ID, 1, 0.5)
    return f"there is no action {flat(name)!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _usable(name: str, chosen: Iterable[str], problems: list[str]) -> tuple[str, ...]:
    usable: list[str] = []
    every = [part for key in chosen for part in (key.split(",") if len(key) > 1 else [key])]
    for key in every:
        if not key.strip():
            continue
        if (refused := why_not_key(key)) is not None:
            problems.append(f"{name}: {refused}")
        else:
            usable.append(canonical(key))
    return tuple(dict.fromkeys(usable))


def _clash_words(key: str, names: tuple[str, ...]) -> str:
    every = " and ".join(f"{name} ({BY_ID[name].label})" for name in names)
    return f"{shown_key(key)} is bound to {every}: it does neither; ^p has both"


def _taken_words(key: str, owners: list[str], name: str, left: tuple[str, ...]) -> str:
    now = " and ".join(f"{owner} ({BY_ID[owner].label})" for owner in owners)
    rest = f"keeps {shown_key(left[0])}" if left else "has no key left; ^p has it"
    return f"{shown_key(key)} is {now} now; {name} ({BY_ID[name].label}) {rest}"

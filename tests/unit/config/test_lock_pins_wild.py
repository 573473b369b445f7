"""Pins among whatever TOML allows: changed rightly, with all else as it was, or not at all."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perstack.config.lock_pins import drop_pins, read_pins, write_pins, write_tools
from perstack.domain.registry import Pin
from perstack.errors import ConfigError

URL: Final = "https://registry.example"
HASH: Final = "sha256-" + "0a" * 32
KEYS: Final = ("x", "y", "x@1.0.0", "@acme/y", "@acme/y@beta")
TOOLS: Final = 'version = "1"\nconfigPath = "perstack.toml"\n\n[experts.n]\nkey = "n"\n'

COMMENTS: Final = ("# [registry.x]", "# a]", '#"""', "\t# '''", "# till\u2028[registry.y]", "# [[")
OWN: Final = (
    '"]" = "#"',
    'note = """\n[registry.y]\n# in a text\n"""',
    "note = '''\n[registry]\n# y'''",
    'signed = { by = "me", "[" = [1, 2] }',
    'seen = [\n  "a", # why\n  "[registry.x]",\n]',
)
OTHERS: Final = (
    '[experts.solo]\ninstruction = """\n[registry.x]\n"""\n',
    '[[experts.duo.toolDefinitions]]\nname = "t" # [registry.y]\n',
    '["experts"."a]#b"]\nkey = "b"\n',
    "[other.registry.x]\nkey = 1\n",
)


def pin(key: str, major: int = 1) -> Pin:
    name = key.rpartition("@")[0] if "@" in key[1:] else key
    version = "1.0.0" if key.endswith("@1.0.0") else f"{major}.0.0"
    return Pin(registry=URL, key=f"{name}@{version}", integrity=HASH)


def quoted(draw: st.DrawFn, key: str) -> str:
    ways = [f'"{key}"', f"'{key}'", '"' + key.replace("y", "\\u0079") + '"']
    return draw(st.sampled_from([key, *ways] if key.isalpha() else ways))


def comments(draw: st.DrawFn) -> list[str]:
    return draw(st.lists(st.sampled_from(COMMENTS), max_size=2))


def table(draw: st.DrawFn, key: str) -> str:
    said = {"registry": URL, "key": pin(key).key, "integrity": HASH}
    lines = [f"{quoted(draw, name)}\t= '{value}'" for name, value in said.items()]
    lines += draw(st.lists(st.sampled_from(OWN), max_size=1))
    lines += draw(st.sampled_from([[], [f"[[registry.'{key}'.more]]", "a = 1"]]))
    head = (
        f" [ {quoted(draw, 'registry')} . {quoted(draw, key)}\t] {draw(st.sampled_from(COMMENTS))}"
    )
    return "\n".join([*comments(draw), head, *comments(draw), *lines, *comments(draw), ""])


def inline(key: str) -> str:
    return f"'{key}' = {{ registry = '{URL}', key = '{pin(key).key}', integrity = '{HASH}' }}"


def dotted(key: str) -> str:
    said = {"registry": URL, "key": pin(key).key, "integrity": HASH}
    return "".join(f"registry.'{key}'.{name} = '{value}' # x\n" for name, value in said.items())


@st.composite
def wild(draw: st.DrawFn) -> str:
    """Return the text of a lock with pins of any shape at any place, which is valid TOML."""
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=4))
    others = draw(st.lists(st.sampled_from(OTHERS), unique=True, max_size=3))
    shape = draw(st.sampled_from(["tables", "tables", "tables", "inline", "within", "dotted"]))
    top, blocks = draw(st.sampled_from(["", 'version = "1"\n'])), others
    if shape == "tables":
        blocks = [*others, *(table(draw, key) for key in keys)]
    elif shape == "within":
        blocks = [*others, "\n".join(["[registry]", *(inline(key) for key in keys), ""])]
    elif shape == "inline":
        top += f"registry = {{ {', '.join(inline(key) for key in keys)} }}\n"
    else:
        top += "".join(dotted(key) for key in keys)
    if draw(st.booleans()):
        blocks = draw(st.permutations(blocks))
    text = "\n".join([top, *blocks, *comments(draw)])
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


def said(lock: Path) -> dict[str, Any]:
    return tomllib.loads(lock.read_bytes().decode())


def pins_of(read: dict[str, Any]) -> dict[str, Any]:
    return {**read.get("registry", {})}


def rest_of(read: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in read.items() if key != "registry"}


@pytest.fixture(scope="module")
def lock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lock") / "perstack.lock"


MAJORS: Final = st.dictionaries(st.sampled_from(KEYS), st.integers(1, 3), min_size=1, max_size=3)


@given(text=wild(), majors=MAJORS)
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_back_and_nothing_else_changes(
    lock: Path, text: str, majors: dict[str, int]
) -> None:
    lock.write_bytes(text.encode())
    before = said(lock)
    new = {key: pin(key, major) for key, major in majors.items()}
    meant = pins_of(before)
    try:
        write_pins(lock, "perstack.toml", new)
    except ConfigError:
        assert lock.read_bytes() == text.encode()
        return
    for key, one in new.items():
        meant[key] = meant.get(key, {}) | one.model_dump(exclude_none=True)
    assert pins_of(said(lock)) == meant
    if text.strip():
        assert rest_of(said(lock)) == rest_of(before)
    written = lock.read_bytes().decode()
    assert all(written.count(one) >= text.count(one) for one in COMMENTS)


@given(text=wild(), keys=st.sets(st.sampled_from(KEYS), min_size=1))
@settings(max_examples=100, deadline=None)
def test_what_is_taken_out_is_gone_and_every_other_line_stays(
    lock: Path, text: str, keys: set[str]
) -> None:
    lock.write_bytes(text.encode())
    before = said(lock)
    there = read_pins(lock)
    try:
        gone = drop_pins(lock, {key: pin(key) for key in keys})
    except ConfigError:
        assert lock.read_bytes() == text.encode()
        return
    assert set(gone) == keys & there.keys()
    left = {key: value for key, value in pins_of(before).items() if key not in gone}
    assert pins_of(said(lock)) == left
    assert rest_of(said(lock)) == rest_of(before)
    lines = iter(text.encode().splitlines(keepends=True))
    assert all(line in lines for line in lock.read_bytes().splitlines(keepends=True))


@given(text=wild())
@settings(max_examples=50, deadline=None)
def test_tools_take_the_place_of_the_tools_and_every_pin_stays(lock: Path, text: str) -> None:
    lock.write_bytes(text.encode())
    pins = read_pins(lock)
    write_tools(lock, TOOLS)
    assert read_pins(lock) == pins
    assert rest_of(said(lock)) == tomllib.loads(TOOLS)


def test_a_comment_above_the_first_pin_goes_with_it(lock: Path) -> None:
    lock.unlink(missing_ok=True)
    write_tools(lock, TOOLS)
    write_pins(lock, "perstack.toml", {"x": pin("x"), "y": pin("y")})
    plain = lock.read_text()
    lock.write_text(plain.replace("[registry.x]", "# asked of its author\n[registry.x]"))
    drop_pins(lock, {"x": pin("x")})
    assert "asked of its author" not in lock.read_text()
    assert lock.read_text().startswith(plain[: plain.index("[registry.x]")])
    assert read_pins(lock) == {"y": pin("y")}


def test_a_line_that_only_looks_like_an_end_of_a_line_takes_no_other_pin_along(lock: Path) -> None:
    lock.unlink(missing_ok=True)
    write_pins(lock, "perstack.toml", {"x": pin("x"), "y": pin("y")})
    lock.write_text(lock.read_text().replace("[registry.y]", "[registry.y] # \u2028[registry.x]"))
    drop_pins(lock, {"x": pin("x")})
    assert read_pins(lock) == {"y": pin("y")}
    assert "\u2028[registry.x]" in lock.read_text()


def test_no_text_of_another_pin_is_taken_for_a_pin(lock: Path) -> None:
    note = 'note = """\n[registry.y]\n# signed"""\n'
    of_x = f"[registry.x]\nregistry = '{URL}'\nkey = 'x@1.0.0'\nintegrity = '{HASH}'\n{note}"
    of_y = f"[registry.y]\nregistry = '{URL}'\nkey = 'y@1.0.0'\nintegrity = '{HASH}'\n"
    lock.write_text(of_y + of_x)
    with pytest.raises(ConfigError, match="cannot be changed"):
        drop_pins(lock, {"y": pin("y")})
    assert lock.read_text() == of_y + of_x

"""What `perstack.lock` says of Experts of a registry, and what else in it is left alone."""

from __future__ import annotations

import fcntl
import os
import threading
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perstack.config.load import LoadedConfig, parse_config
from perstack.config.lock_pins import drop_pins, read_pins, write_pins, write_tools
from perstack.config.lockfile import LockedTool, lock_text, read_lock
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import Pin
from perstack.errors import ConfigError, StorageError
from perstack.services.install import find_lock

URL: Final = "https://registry.example"
HASH: Final = "sha256-" + "0a" * 32
X: Final = Pin(registry=URL, key="x@1.0.0", integrity=HASH)
Y: Final = Pin(registry=URL, key="@acme/y@2.0.0-rc.1", integrity=HASH, accepted="yes")
PINS: Final = {"x": X, "@acme/y@beta": Y}
SOLO: Final = ExpertKey("solo")
NAME: Final = "perstack.toml"


def moved(pin: Pin, version: str) -> Pin:
    name = pin.key.rpartition("@")[0]
    return pin.model_copy(update={"key": f"{name}@{version}", "integrity": "sha256-" + "1b" * 32})


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "perstack.lock"


def config(lock: Path) -> LoadedConfig:
    return parse_config(lock.with_name(NAME), b'[experts.solo]\ninstruction = "Hi."\n')


def tools_text(lock: Path, description: str = "Does it.") -> str:
    tool = LockedTool("exa", "search", description, {"type": "object", "default": None})
    return lock_text(config(lock), {SOLO: [tool]}, now_ms=1, redact=lambda text: text)


def test_pins_are_read_back_as_they_were_written(lock: Path) -> None:
    assert read_pins(lock) == {}
    write_pins(lock, NAME, PINS)
    assert read_pins(lock) == PINS
    assert tomllib.loads(lock.read_text()) == {
        "version": "1",
        "configPath": NAME,
        "registry": {
            "x": {"registry": URL, "key": "x@1.0.0", "integrity": HASH},
            "@acme/y@beta": {
                "registry": URL,
                "key": "@acme/y@2.0.0-rc.1",
                "integrity": HASH,
                "accepted": "yes",
            },
        },
    }


def test_a_lock_that_another_process_writes_is_waited_for_only_so_long(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perstack.config.lock_pins._LOCK_WITHIN_S", 0.0)
    other = os.open(lock.parent, os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="is being written by another process"):
            write_pins(lock, NAME, PINS)
    finally:
        os.close(other)
    assert not lock.exists()


def test_a_lock_of_pins_alone_gives_no_tools_and_no_warning(lock: Path) -> None:
    write_pins(lock, NAME, PINS)
    found = find_lock(config(lock))
    assert (found.listed, found.warning) == ({}, None)
    write_pins(lock, "another.toml", {"z": X.model_copy(update={"key": "z@1.0.0"})})
    assert find_lock(config(lock)).warning is None


def test_a_lock_of_tools_keeps_them_byte_for_byte_and_stays_valid(lock: Path) -> None:
    lock.write_text("# mine\n" + tools_text(lock, "Tells: '[registry.\"x\"]' and\n[registry.x]\n"))
    before = lock.read_bytes()
    write_pins(lock, NAME, PINS)
    assert lock.read_bytes().startswith(before)
    assert read_pins(lock) == PINS
    found = find_lock(config(lock))
    assert found.warning is None
    assert found.listed[SOLO].tools_of("exa")
    write_pins(lock, NAME, {"x": moved(X, "3.0.0")})
    assert lock.read_bytes().startswith(before)
    assert read_pins(lock) == {**PINS, "x": moved(X, "3.0.0")}


def test_pins_count_whatever_the_configuration_is(lock: Path) -> None:
    lock.write_text(tools_text(lock))
    write_pins(lock, NAME, PINS)
    changed = parse_config(lock.with_name(NAME), b'[experts.other]\ninstruction = "Hi."\n')
    assert "is stale" in (find_lock(changed).warning or "")
    assert read_pins(lock) == PINS


def test_tools_written_anew_leave_the_pins(lock: Path) -> None:
    write_pins(lock, NAME, PINS)
    write_tools(lock, tools_text(lock))
    assert read_pins(lock) == PINS
    assert lock.read_text().startswith(tools_text(lock))
    again = lock.read_bytes()
    write_tools(lock, tools_text(lock))
    assert lock.read_bytes() == again
    assert find_lock(config(lock)).warning is None


def test_tools_without_pins_are_written_as_they_are(lock: Path) -> None:
    write_tools(lock, tools_text(lock))
    assert lock.read_text() == tools_text(lock)


def test_a_lock_that_cannot_be_read_is_written_anew_by_install_alone(lock: Path) -> None:
    lock.write_text("broken [")
    with pytest.raises(ConfigError):
        write_pins(lock, NAME, PINS)
    assert lock.read_text() == "broken ["
    write_tools(lock, tools_text(lock))
    assert read_lock(lock) is not None


def test_comments_among_the_pins_stay_when_one_of_them_moves(lock: Path) -> None:
    write_pins(lock, NAME, PINS)
    text = lock.read_text().replace(f'integrity = "{HASH}"', f'integrity = "{HASH}" # checked', 1)
    text = text.replace('[registry."@acme/y@beta"]', '# until May\n[registry."@acme/y@beta"] # y')
    lock.write_text(text)
    write_pins(lock, NAME, {"@acme/y@beta": moved(Y, "3.0.0")})
    for comment in ("# checked", "# until May\n", "] # y\n"):
        assert comment in lock.read_text()
    assert read_pins(lock)["@acme/y@beta"] == moved(Y, "3.0.0")


def test_comments_among_the_pins_stay_when_tools_are_written_anew(lock: Path) -> None:
    write_tools(lock, tools_text(lock))
    write_pins(lock, NAME, PINS)
    text = lock.read_text().replace(f'integrity = "{HASH}"', f'integrity = "{HASH}" # checked', 1)
    text = text.replace("[registry.x]", "# asked of their author\n[registry.x]")
    lock.write_text(text.replace('[registry."@acme/y@beta"]', '# May\n[registry."@acme/y@beta"]'))
    again = tools_text(lock, "Does more.")
    write_tools(lock, again)
    written = lock.read_text()
    assert written.startswith(again)
    for comment in ("# checked", "# asked of their author\n[registry.x]", "# May\n[registry."):
        assert comment in written
    assert read_pins(lock) == PINS


def test_pins_are_taken_out_and_nothing_else_changes(lock: Path) -> None:
    write_tools(lock, tools_text(lock, "Tells: '[registry.\"x\"]' and\n[registry.x]\n"))
    tools = lock.read_bytes()
    write_pins(lock, NAME, PINS)
    lock.write_text(lock.read_text().replace('[registry."@acme/y', '# May\n[registry."@acme/y'))
    assert drop_pins(lock, {"x": X, "nobody": X}) == ["x"]
    assert read_pins(lock) == {"@acme/y@beta": Y}
    assert lock.read_bytes().startswith(tools)
    assert "# May\n" in lock.read_text()
    drop_pins(lock, PINS)
    assert read_pins(lock) == {}
    assert lock.read_bytes().startswith(tools)
    before = lock.stat()
    drop_pins(lock, PINS)
    assert lock.stat().st_ino == before.st_ino


def test_a_pin_that_moved_meanwhile_is_not_taken_out(lock: Path) -> None:
    write_pins(lock, NAME, {**PINS, "x": moved(X, "3.0.0")})
    assert drop_pins(lock, {"x": X}) == []
    assert read_pins(lock) == {**PINS, "x": moved(X, "3.0.0")}


_PIN: Final = f'registry = "https://a"\nkey = "x@1.0.0"\nintegrity = "{HASH}"\n'
_INLINE: Final = f"{{ {', '.join(_PIN.splitlines())} }}"
EDITED: Final = {
    "dotted": "".join(f"registry.x.{line}\n" for line in _PIN.splitlines())
    + '[experts.solo]\nkey = "solo"\n',
    "apart": f'[registry.x]\n{_PIN}[experts.solo]\nkey = "solo"\n[registry."x@1.0.0"]\n{_PIN}',
    "inline": f"registry = {{ x = {_INLINE} }}\n",
    "half inline": f"[registry]\nx = {_INLINE}\n",
    "other line ends": f'version = "1"\n[registry.x]\n{_PIN}'.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("name", EDITED)
@pytest.mark.parametrize("pins", [PINS, {"@acme/y@beta": Y}], ids=["both", "new"])
def test_a_lock_that_was_edited_is_changed_rightly_or_not_at_all(
    lock: Path, name: str, pins: dict[str, Pin]
) -> None:
    text = EDITED[name]
    lock.write_bytes(text.encode())
    there = read_pins(lock)
    rest = {key: value for key, value in tomllib.loads(text).items() if key != "registry"}
    with suppress(ConfigError):
        write_pins(lock, NAME, pins)
        there |= pins
    assert read_pins(lock) == there
    read = tomllib.loads(lock.read_text())
    assert {key: value for key, value in read.items() if key != "registry"} == rest
    assert there.keys() >= pins.keys() or lock.read_bytes() == text.encode()


@pytest.mark.parametrize("name", EDITED)
def test_pins_of_a_lock_that_was_edited_are_taken_out_rightly_or_not_at_all(
    lock: Path, name: str
) -> None:
    lock.write_bytes(EDITED[name].encode())
    there = read_pins(lock)
    rest = {key: value for key, value in tomllib.loads(EDITED[name]).items() if key != "registry"}
    with suppress(ConfigError):
        drop_pins(lock, {"x": there["x"]})
        del there["x"]
    assert read_pins(lock) == there
    read = tomllib.loads(lock.read_text())
    assert {key: value for key, value in read.items() if key != "registry"} == rest


def test_what_was_accepted_of_the_same_content_stays_accepted(lock: Path) -> None:
    write_pins(lock, NAME, {"@acme/y@beta": Y})
    write_pins(lock, NAME, {"@acme/y@beta": Y.model_copy(update={"accepted": None})})
    assert read_pins(lock)["@acme/y@beta"].accepted == "yes"
    write_pins(lock, NAME, {"@acme/y@beta": Y.model_copy(update={"accepted": "asked"})})
    assert read_pins(lock)["@acme/y@beta"].accepted == "asked"
    other = moved(Y, "3.0.0").model_copy(update={"accepted": None})
    write_pins(lock, NAME, {"@acme/y@beta": other})
    assert read_pins(lock)["@acme/y@beta"].accepted is None


def test_nothing_is_written_where_nothing_is_new(lock: Path) -> None:
    write_pins(lock, NAME, {})
    assert not lock.exists()
    write_pins(lock, NAME, PINS)
    before = lock.stat()
    write_pins(lock, NAME, {"x": X})
    assert lock.stat().st_ino == before.st_ino


def _pinned(**said: object) -> str:
    lines = {"registry": URL, "key": "x@1.0.0", "integrity": HASH, **said}
    body = "\n".join(f"{key} = {value!r}" for key, value in lines.items())
    return f'[registry."x"]\n{body}\n'


WRONG: Final = (
    "registry = 1\n",
    "registry = [1]\n",
    "registry.x = 1\n",
    '[registry.x]\nkey = "x@1.0.0"\n',
    _pinned(key=1),
    _pinned(key="x"),
    _pinned(key="x@latest"),
    _pinned(key="evil@1.0.0"),
    _pinned(key="../../x@1.0.0"),
    _pinned(key="x@1.0.0" + "0" * 2_000),
    _pinned(registry=["https://a"]),
    _pinned(registry="h" * 3_000),
    _pinned(integrity="sha256-" + "Z" * 64),
    _pinned(integrity="sha256-" + "0" * 63),
    _pinned(integrity=HASH + "\n"),
    _pinned(accepted="maybe"),
    _pinned(accepted=1),
    _pinned().replace('"x"', '"x@2.0.0"'),
    _pinned().replace('"x"', '"\u0445"'),
    _pinned().replace('"x"', r'"\u001b[2J"'),
    _pinned().replace('"x"', '""'),
    "".join(_pinned().replace('"x"', f'"x@t{number}"') for number in range(4_100)),
    "[" * 100_000,
    "registry" + ".x" * 500 + " = 1\n",
    "broken [",
    "\x00",
)


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_pins_that_cannot_be_meant_are_refused_with_what_to_do(lock: Path, text: str) -> None:
    lock.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_pins(lock)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 600
    assert caught.value.hint
    with pytest.raises(ConfigError):
        write_pins(lock, NAME, PINS)
    assert lock.read_text() == text


def test_a_lock_that_is_no_text_or_no_file_is_refused(lock: Path) -> None:
    lock.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError):
        read_pins(lock)
    lock.unlink()
    lock.mkdir()
    with pytest.raises(ConfigError):
        read_pins(lock)


def test_what_a_later_version_says_of_a_pin_is_left_alone(lock: Path) -> None:
    lock.write_text(_pinned(provenance="signed") + _pinned().replace('"x"', '"x@1.0.0"'))
    assert read_pins(lock) == {"x": X, "x@1.0.0": X}
    write_pins(lock, NAME, {"x": moved(X, "2.0.0")})
    assert tomllib.loads(lock.read_text())["registry"]["x"]["provenance"] == "signed"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        write_pins(tmp_path / "gone" / "perstack.lock", NAME, PINS)
    assert caught.value.hint


def test_many_that_write_at_once_lose_nothing(lock: Path) -> None:
    faults: list[Exception] = []

    def work(number: int) -> None:
        pin = X.model_copy(update={"key": f"e{number}@1.0.0"})
        try:
            if number % 4 == 0:
                write_tools(lock, tools_text(lock))
            write_pins(lock, NAME, {f"e{number}": pin})
        except (ConfigError, StorageError) as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert set(read_pins(lock)) == {f"e{number}" for number in range(16)}
    assert [each.name for each in lock.parent.iterdir()] == ["perstack.lock"]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = st.from_regex(r"(?:@[a-z0-9][a-z0-9_-]{0,5}/)?[a-z][a-z0-9_-]{0,8}", fullmatch=True)
STEPS = st.lists(
    st.dictionaries(KEYS, st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=4
)


@given(description=TEXTS, steps=STEPS)
@settings(max_examples=40)
def test_any_sequence_of_pins_is_read_back_and_the_tools_are_untouched(
    tmp_path_factory: pytest.TempPathFactory, description: str, steps: list[dict[str, int]]
) -> None:
    lock = tmp_path_factory.mktemp("lock") / "perstack.lock"
    lock.write_text(tools_text(lock, description))
    before = lock.read_bytes()
    meant: dict[str, Pin] = {}
    for step in steps:
        pins = {
            key: Pin(registry=URL, key=f"{key}@{major}.0.0", integrity=HASH)
            for key, major in step.items()
        }
        meant.update(pins)
        write_pins(lock, NAME, pins)
        assert read_pins(lock) == meant
        assert lock.read_bytes().startswith(before)

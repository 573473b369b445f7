"""What the lock file holds, and what is refused as one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.config.load import LoadedConfig, parse_config
from perstack.config.lockfile import LockedTool, lock_text, read_lock, write_lock
from perstack.config.toml_text import fits_toml, toml_key, toml_value
from perstack.domain.ids import ExpertKey
from perstack.errors import ConfigError, StorageError

TEAM = """
[experts.solo]
instruction = '''Say "hi".
The password is hunter2hunter2.'''
description = "Greets"
tags = ["a"]

[experts.solo.skills.exa]
type = "mcpHttpSkill"
endpoint = "https://example.com/mcp?key=sesame-query"
headers = { "X-Key" = "sesame-open-sesame" }
pick = ["search"]

[experts.solo.skills.ask]
type = "interactiveSkill"
[experts.solo.skills.ask.tools.askUser]
description = "Ask"
inputJsonSchema = '{"type": "object", "default": null}'
"""
SOLO = ExpertKey("solo")
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(CHARACTERS, max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def _config(folder: Path) -> LoadedConfig:
    return parse_config(folder / "perstack.toml", TEAM.encode())


def _text(config: LoadedConfig, *tools: LockedTool) -> str:
    return lock_text(
        config, {SOLO: tools}, now_ms=1, redact=lambda text: text.replace("hunter2hunter2", "***")
    )


@given(JSON)
def test_what_fits_toml_is_read_back_as_it_was(value: JsonValue) -> None:
    if fits_toml(value):
        assert tomllib.loads(f"value = {toml_value(value)}") == {"value": value}


@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_any_key_is_read_back_as_it_was(parts: list[str]) -> None:
    found: object = tomllib.loads(f"{toml_key(*parts)} = 1")
    for part in parts:
        assert isinstance(found, dict)
        assert list(found) == [part]
        found = found[part]
    assert found == 1


@given(st.lists(st.tuples(TEXTS, TEXTS, st.dictionaries(TEXTS, JSON, max_size=4)), max_size=4))
def test_tools_are_read_back_whatever_their_texts_and_schemas(
    tmp_path_factory: pytest.TempPathFactory, wild: list[tuple[str, str, dict[str, JsonValue]]]
) -> None:
    folder = tmp_path_factory.mktemp("lock")
    config = _config(folder)
    tools = tuple(
        LockedTool(skill, f"tool_{number}", description, schema)
        for number, (skill, description, schema) in enumerate(wild)
    )
    write_lock(folder / "perstack.lock", _text(config, *tools))
    lock = read_lock(folder / "perstack.lock")
    assert lock is not None
    assert lock.tools[SOLO] == tools
    assert (lock.config_name, lock.text_hash) == ("perstack.toml", config.text_hash)


def test_it_holds_the_definitions_and_no_secrets(tmp_path: Path) -> None:
    text = _text(_config(tmp_path), LockedTool("exa", "search", "", {"type": "object"}))
    lock = tomllib.loads(text)
    solo = lock["experts"]["solo"]
    assert {key: solo[key] for key in ("key", "name", "version", "description", "tags")} == {
        "key": "solo",
        "name": "solo",
        "version": "1.0.0",
        "description": "Greets",
        "tags": ["a"],
    }
    assert solo["instruction"] == 'Say "hi".\nThe password is ***.'
    assert solo["skills"]["exa"] == {
        "type": "mcpHttpSkill",
        "endpoint": "https://example.com/mcp?[redacted]",
        "headers": {"X-Key": "[redacted]"},
        "pick": ["search"],
    }
    assert solo["skills"]["ask"]["tools"]["askUser"]["inputJsonSchema"] == (
        '{"type": "object", "default": null}'
    )
    assert solo["toolDefinitions"] == [
        {"skillName": "exa", "name": "search", "inputSchema": {"type": "object"}}
    ]
    assert "sesame" not in text


def test_where_there_is_none_none_is_read(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "perstack.lock") is None


def test_a_lock_without_a_hash_is_one_of_unknown_origin(tmp_path: Path) -> None:
    path = tmp_path / "perstack.lock"
    path.write_text('version = "1"\ngeneratedAt = 1\nconfigPath = "perstack.toml"\n')
    lock = read_lock(path)
    assert lock is not None
    assert lock.text_hash is None


HEAD = 'version = "1"\nconfigPath = "perstack.toml"\n'
TOOL = '[[experts.a.toolDefinitions]]\nskillName = "s"\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "version: Field required"),
        (b"not toml", "not valid TOML at line 1"),
        (b"\xff\xfe", "not UTF-8"),
        (b'version = "2"\nconfigPath = "perstack.toml"', "version: Input should be '1'"),
        ((HEAD + "experts = 7").encode(), "experts: "),
        ((HEAD + TOOL + 'name = "x"').encode(), "inputSchema: Field required"),
        ((HEAD + TOOL + 'name = "two words"\ninputSchema = {}').encode(), "name: "),
        ((HEAD + TOOL + 'name = "x"\ninputSchema = "[]"').encode(), "Input should be an object"),
        ((HEAD + TOOL + 'name = "x"\ninputSchema = "{"').encode(), "Invalid JSON"),
        ((HEAD + TOOL + 'name = "x"\ninputSchema = { d = 1979-05-27 }').encode(), "inputSchema"),
        ((HEAD + "a = " + "[" * 5_000 + "]" * 5_000).encode(), "nested too deeply"),
        ((HEAD + ".".join("a" * 100_000) + " = 1").encode(), "key of more than 64 parts"),
        ((HEAD + "#" * (16 * 1024 * 1024)).encode(), "larger than"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_lock_file_is_refused_by_name_with_the_remedy(
    tmp_path: Path, text: bytes, why: str
) -> None:
    path = tmp_path / "perstack.lock"
    path.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        read_lock(path)
    assert "perstack.lock" in caught.value.message
    assert why in caught.value.message
    assert caught.value.hint


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "perstack.lock").mkdir()
    with pytest.raises(ConfigError, match="no regular file"):
        read_lock(tmp_path / "perstack.lock")


def test_what_cannot_be_written_leaves_the_old_one_and_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "perstack.lock").mkdir()
    with pytest.raises(StorageError, match="cannot be written") as caught:
        write_lock(tmp_path / "perstack.lock", "new")
    assert caught.value.exit_code == 5
    assert [path.name for path in tmp_path.iterdir()] == ["perstack.lock"]

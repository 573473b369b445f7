"""Checking and writing `perstack.toml` from a program."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.config.load import load_config
from perstack.config_file import as_toml, save_config, validate_config
from perstack.errors import ConfigError, StorageError

TEXT: Final = """# The team of the site.
model = "claude-sonnet-5-5"   # for now
[agents]
maxConcurrent = 3
[experts."@ana/writer"]
instruction = \"\"\"
You write.
Briefly.\"\"\"
[experts."@ana/writer".skills."ask"]
type = "interactiveSkill"
[experts."@ana/writer".skills."ask".tools."askUser"]
inputJsonSchema = '{"type":"object"}'
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "perstack.toml"
    path.write_text(TEXT)
    return path


def test_a_file_that_can_be_used_has_no_errors(file: Path) -> None:
    valid, errors = validate_config(file)
    assert (valid, errors) == (True, ())


def test_every_error_is_told_with_its_key_and_line(file: Path) -> None:
    file.write_text("maxSteps = 'many'\n[agents]\nmaxConcurrent = 200\n")
    valid, errors = validate_config(str(file))
    assert not valid
    assert [error.partition(": ")[0] for error in errors] == [
        "maxSteps (line 1)",
        "agents.maxConcurrent (line 3)",
    ]


@pytest.mark.parametrize("content", [b"= 1", b"\xff", b"a = [" + b"[" * 10_000], ids=repr)
def test_what_is_no_toml_is_one_error(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    valid, errors = validate_config(file)
    assert not valid
    assert len(errors) == 1


def test_a_file_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    valid, (error,) = validate_config(tmp_path / "none.toml")
    assert not valid
    assert "not found" in error


def test_a_text_is_written_as_it_is_with_its_comments(tmp_path: Path) -> None:
    saved = save_config(TEXT, tmp_path / "perstack.toml")
    assert saved.read_text() == TEXT


def test_a_table_means_the_same_when_it_is_read_again(file: Path) -> None:
    table = tomllib.loads(TEXT)
    table["agents"]["maxConcurrent"] = 7
    save_config(table, file)
    assert tomllib.loads(file.read_text()) == table
    assert load_config(file).settings.coordination.agents.max_concurrent == 7


def test_what_cannot_be_used_is_refused_and_the_file_stays(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"agents\.maxConcurrent"):
        save_config("[agents]\nmaxConcurrent = 200\n", file)
    with pytest.raises(ConfigError, match="TOML cannot"):
        save_config({"model": None}, file)
    with pytest.raises(ConfigError, match="UTF-8"):
        save_config('model = "\udc80"\n', file)
    assert file.read_text() == TEXT
    assert list(file.parent.iterdir()) == [file]


def test_a_link_stays_one_and_the_files_rights_stay(file: Path, tmp_path: Path) -> None:
    file.chmod(0o644)
    link = tmp_path / "linked.toml"
    link.symlink_to(file)
    save_config("maxSteps = 9\n", link)
    assert link.is_symlink()
    assert file.read_text() == "maxSteps = 9\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_folder_that_is_not_there_is_our_own_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        save_config(TEXT, tmp_path / "nowhere" / "perstack.toml")


def test_a_device_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        save_config(TEXT, Path(os.devnull))


_VALUES: Final = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(st.characters(codec="utf-8"))
)
_TABLES: Final = st.recursive(
    st.dictionaries(st.text(st.characters(codec="utf-8")), _VALUES, max_size=3),
    lambda inner: st.dictionaries(
        st.text(st.characters(codec="utf-8")),
        st.one_of(_VALUES, inner, st.lists(_VALUES, max_size=3)),
        max_size=3,
    ),
    max_leaves=12,
)


@given(_TABLES)
def test_any_table_is_written_so_that_it_is_read_as_the_same(
    table: dict[str, JsonValue],
) -> None:
    assert tomllib.loads(as_toml(table)) == table

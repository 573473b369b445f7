"""Finding and reading real files, and the files that the project itself ships."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from perstack.config.find import find_config, locate_config
from perstack.config.load import load_config
from perstack.errors import ConfigError

ROOT = Path(__file__).parents[2]
GOOD = '[experts.writer]\ninstruction = "Write."\n'


def test_the_nearest_file_upward_is_found(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "perstack.toml").write_text(GOOD)
    assert find_config(deep) == tmp_path / "perstack.toml"
    (tmp_path / "a" / "perstack.toml").write_text(GOOD)
    assert find_config(deep) == tmp_path / "a" / "perstack.toml"


def test_a_folder_of_that_name_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "perstack.toml").write_text(GOOD)
    (tmp_path / "a" / "perstack.toml").mkdir(parents=True)
    assert find_config(tmp_path / "a") == tmp_path / "perstack.toml"


def test_a_given_path_wins_and_is_relative_to_the_start(tmp_path: Path) -> None:
    (tmp_path / "perstack.toml").write_text(GOOD)
    (tmp_path / "other.toml").write_text(GOOD)
    assert locate_config(Path("other.toml"), start=tmp_path) == tmp_path / "other.toml"
    assert locate_config(None, start=tmp_path) == tmp_path / "perstack.toml"


def test_without_a_file_the_next_step_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        locate_config(None, start=tmp_path)
    assert caught.value.message == "perstack.toml not found. Create one or specify --config path."
    assert caught.value.hint


def test_a_given_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'^Given config path "x.toml" is not found$'):
        locate_config(Path("x.toml"), start=tmp_path)
    with pytest.raises(ConfigError, match=r'^Given config path ".*x.toml" is not found$'):
        load_config(tmp_path / "x.toml")


def test_the_hash_follows_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "perstack.toml"
    path.write_text(GOOD)
    first = load_config(path)
    path.write_text(GOOD + "# note\n")
    second = load_config(path)
    assert first.text_hash != second.text_hash
    assert first.experts == second.experts
    assert first.path == path


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "perstack.toml"
    path.write_text(GOOD)
    path.chmod(0)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load_config(path)


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(ConfigError, match=r"is not a file$"):
            load_config(path)


def test_a_path_with_a_nul_character_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be read: embedded null byte"):
        load_config(Path("a\0b"))


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "perstack.toml"
    with path.open("wb") as file:
        file.truncate(4 * 1024 * 1024 + 1)
    with pytest.raises(ConfigError, match="is larger than 4,194,304 bytes"):
        load_config(path)


def test_bytes_that_are_not_utf8_are_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "perstack.toml"
    path.write_bytes(b'a = 1\nb = "\xff"\n')
    with pytest.raises(ConfigError, match="line 2 is not UTF-8 text"):
        load_config(path)


def test_the_example_team_loads_without_warnings() -> None:
    config = load_config(ROOT / "perstack.toml")
    assert config.warnings == ()
    assert config.settings.consensus.enabled
    assert config.experts.keys() >= {"fitness-assistant", "pro-trainer"}


def test_every_example_of_the_documentation_loads(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    examples = re.findall(r"^```toml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(examples) >= 4
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.toml"
        path.write_text(example)
        assert load_config(path).warnings == (), example


def test_loading_needs_no_heavy_module() -> None:
    script = (
        "import sys, perstack.config.load, perstack.config.overrides, perstack.config.env\n"
        "heavy = {'watchfiles', 'anyio', 'anthropic', 'openai', 'mcp', 'sqlalchemy', 'jsonschema',"
        " 'textual', 'rich', 'difflib', 'shlex'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"

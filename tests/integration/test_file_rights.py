"""Who can read what is written: a project's files whom the umask lets, keys and records nobody."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perstack.cli.app import app
from perstack.cli.create_files import change_of, setup_changes, write
from perstack.cli.create_setup import Key, Setup
from perstack.config.lockfile import write_lock
from perstack.config_file import save_config
from perstack.errors import StorageError
from perstack.storage.new_file import new_file
from tests.fakes.cli import SCRIPTED

KEY = Key("ANTHROPIC_API_KEY", "sk-canary-0123456789")
SETUP = Setup("perstack", "anthropic", "claude", KEY)


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=["022", "077", "002"])
def umask(request: pytest.FixtureRequest) -> Generator[int]:
    mask: int = request.param
    before = os.umask(mask)
    yield mask
    os.umask(before)


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_colleagues_share_has_the_rights_that_the_umask_leaves(
    tmp_path: Path, umask: int
) -> None:
    made = CliRunner().invoke(app, ["init", "-d", str(tmp_path / "init")])
    assert made.exit_code == 0, made.exception
    created, saved = tmp_path / "created", tmp_path / "saved.toml"
    created.mkdir()
    write(created, setup_changes(created, SETUP, KEY))
    save_config(SCRIPTED, saved)
    write_lock(tmp_path / "perstack.lock", "")
    shared = [tmp_path / "init" / "perstack.toml", saved, tmp_path / "perstack.lock"]
    shared += [created / name for name in ("perstack.toml", "AGENTS.md", ".gitignore")]
    assert {path.name: oct(rights(path)) for path in shared} == {
        path.name: oct(0o666 & ~umask) for path in shared
    }


def test_a_key_and_whatever_is_not_said_to_be_shared_is_the_users_alone(
    tmp_path: Path, umask: int
) -> None:
    write(tmp_path, setup_changes(tmp_path, SETUP, KEY))
    with new_file(tmp_path / "log.json", replaces=False) as file:
        file.write("{}")
    assert rights(tmp_path / ".env") == rights(tmp_path / "log.json") == 0o600


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_that_is_there_keeps_its_rights(tmp_path: Path, umask: int, mode: int) -> None:
    config, lock, notes = (
        tmp_path / name for name in ("perstack.toml", "perstack.lock", "AGENTS.md")
    )
    for path in (config, lock, notes):
        path.write_text("")
        path.chmod(mode)
    save_config(SCRIPTED, config)
    write_lock(lock, "")
    write(tmp_path, [change_of(notes, "new")])
    assert {oct(rights(path)) for path in (config, lock, notes)} == {oct(mode)}
    made = CliRunner().invoke(app, ["init", "--force", "-d", str(tmp_path)])
    assert (made.exit_code, rights(config)) == (0, mode)


def test_a_link_in_the_place_of_a_configuration_stays_one_and_its_file_keeps_its_rights(
    tmp_path: Path,
) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "perstack.toml"
    real.write_text("")
    real.chmod(0o640)
    link.symlink_to(real)
    save_config(SCRIPTED, link)
    assert link.is_symlink()
    assert (rights(real), real.read_text()) == (0o640, SCRIPTED)


def test_a_file_that_gets_the_rights_of_another_never_gets_its_privileges(tmp_path: Path) -> None:
    config, lock = tmp_path / "perstack.toml", tmp_path / "perstack.lock"
    for path in (config, lock):
        path.write_text("")
        path.chmod(0o6755)
    save_config(SCRIPTED, config)
    write_lock(lock, "")
    assert (rights(config), rights(lock)) == (0o755, 0o755)


def test_a_name_that_no_file_can_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        save_config(SCRIPTED, tmp_path / f"{'n' * 300}.toml")

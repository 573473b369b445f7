"""The keys of registries: kept for the user alone, one a URL, and told to nobody."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perstack.config.credentials import credentials_file, forget_key, keep_key, signed_in
from perstack.config.registry_place import registry_place
from perstack.errors import StorageError

HERE = "https://registry.example.com"
THERE = "https://other.example.com"
KEY = "psr_canary-0123456789"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def test_a_key_is_kept_for_its_url_alone(env: dict[str, str]) -> None:
    keep_key(env, f"{HERE}/", KEY)
    assert signed_in(env)(HERE) == KEY
    assert signed_in(env)(THERE) is None
    assert registry_place({}, HERE, signed_in=signed_in(env)).key == KEY
    assert registry_place({"PERSTACK_API_KEY": "own"}, HERE, signed_in=signed_in(env)).key == "own"


def test_the_file_and_its_folder_are_the_users_alone(env: dict[str, str]) -> None:
    file = keep_key(env, HERE, KEY)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    file.chmod(0o644)
    keep_key(env, THERE, KEY)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["credentials.json"]


def test_a_file_that_another_process_holds_is_waited_for_only_so_long(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = keep_key(env, HERE, KEY)
    monkeypatch.setattr("perstack.config.credentials._LOCK_WITHIN_S", 0.0)
    other = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="is being written by another process"):
            keep_key(env, HERE, "psr_other")
    finally:
        os.close(other)
    assert signed_in(env)(HERE) == KEY
    keep_key(env, HERE, "psr_other")


def test_forgetting_one_key_leaves_the_others(env: dict[str, str]) -> None:
    keep_key(env, HERE, KEY)
    keep_key(env, THERE, "psr_other")
    assert forget_key(env, HERE)
    assert not forget_key(env, HERE)
    assert signed_in(env)(HERE) is None
    assert signed_in(env)(THERE) == "psr_other"


def test_forgetting_makes_nothing_where_nothing_was(env: dict[str, str]) -> None:
    assert not forget_key(env, HERE)
    assert not credentials_file(env).parent.exists()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"registries": ["' + KEY.encode(), b"\xff\xfe", b"null"]
)
def test_a_damaged_file_is_no_key_and_is_not_written_over(
    env: dict[str, str], content: bytes
) -> None:
    file = credentials_file(env)
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    assert signed_in(env)(HERE) is None
    for change in (lambda: keep_key(env, HERE, KEY), lambda: forget_key(env, HERE)):
        with pytest.raises(StorageError, match="is not a record of keys") as caught:
            change()
        assert KEY not in str(caught.value)
        assert caught.value.__cause__ is None
    assert file.read_bytes() == content


def test_what_cannot_be_written_is_said_and_leaves_what_was(env: dict[str, str]) -> None:
    Path(env["XDG_CONFIG_HOME"]).write_text("a file in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        keep_key(env, HERE, KEY)
    assert signed_in(env)(HERE) is None


def test_a_link_to_the_file_stays_one(env: dict[str, str], tmp_path: Path) -> None:
    file, real = credentials_file(env), tmp_path / "dotfiles.json"
    file.parent.mkdir(parents=True)
    real.write_text('{"formatVersion": 1, "registries": {}}')
    file.symlink_to(real)
    keep_key(env, HERE, KEY)
    assert file.is_symlink()
    assert json.loads(real.read_text())["registries"] == {HERE: KEY}


def test_a_relative_folder_is_not_looked_for_in_the_project(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "config"}
    assert credentials_file(env) == tmp_path / ".config" / "perstack" / "credentials.json"


def test_keys_that_are_kept_at_once_are_all_kept(env: dict[str, str]) -> None:
    urls = [f"https://{number}.example.com" for number in range(16)]

    def keep(url: str) -> None:
        keep_key(env, url, f"key-of-{url}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, urls))
    assert [signed_in(env)(url) for url in urls] == [f"key-of-{url}" for url in urls]

"""What we made in a workspace as the superuser becomes its owner's, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perstack.errors import ConfigError
from perstack.runtimes.docker.handing import handed_over

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
SOMEBODY = 4_242


def owner(path: Path) -> int:
    return path.lstat().st_uid


def test_the_folder_of_the_live_files_is_there(tmp_path: Path) -> None:
    assert handed_over(tmp_path) == (os.geteuid(), tmp_path.stat().st_gid)
    assert (tmp_path / "perstack" / "live").is_dir()
    assert handed_over(tmp_path)[0] == os.geteuid()


@pytest.mark.parametrize("name", ["perstack", "perstack/live"])
def test_where_history_is_kept_no_link_is_followed(tmp_path: Path, name: str) -> None:
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = work / name
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(ConfigError, match=f"{name} in the workspace is a link") as refused:
        handed_over(work)
    assert refused.value.hint
    assert list(elsewhere.iterdir()) == []


@AS_ROOT
def test_the_owner_gets_what_is_ours_and_nothing_that_a_link_leads_to(tmp_path: Path) -> None:
    work, secret, folder = tmp_path / "work", tmp_path / "secret", tmp_path / "folder"
    secret.write_text("root's")
    folder.mkdir()
    (folder / "inner").write_text("root's")
    ours = work / "perstack" / "jobs"
    ours.mkdir(parents=True)
    os.chown(work, SOMEBODY, SOMEBODY)
    (ours / "job.json").write_text("{}")
    (ours / "file-link").symlink_to(secret)
    (ours / "folder-link").symlink_to(folder)
    (ours / "hard-link").hardlink_to(secret)
    os.mkfifo(ours / "pipe")
    assert handed_over(work) == (SOMEBODY, SOMEBODY)
    assert {owner(path) for path in (ours.parent, ours, ours / "job.json")} == {SOMEBODY}
    assert {owner(path) for path in (secret, folder, folder / "inner")} == {0}
    assert owner(work / "perstack" / "live") == SOMEBODY

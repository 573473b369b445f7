"""Files that cannot be looked at are not followed, and end nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perstack_tui import watching
from perstack_tui.watching import watched_folders


def test_a_link_that_leads_to_itself_is_followed_in_its_own_folder(tmp_path: Path) -> None:
    loop = tmp_path / "cockpit.toml"
    loop.symlink_to(loop)
    assert watched_folders([loop], [tmp_path / "themes"]) == {tmp_path}


def test_a_folder_that_nobody_may_look_into_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut = tmp_path / "shut" / "perstack"
    looks_like = Path.is_dir

    def is_dir(path: Path) -> bool:
        # As the system answers whoever is not root.
        if path.is_relative_to(tmp_path / "shut"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return looks_like(path)

    monkeypatch.setattr(watching.Path, "is_dir", is_dir)
    assert watched_folders([shut / "cockpit.toml"], [shut / "themes"]) == {tmp_path}

"""`perstack plugin`: nothing of the workspace runs before its user enabled it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from perstack.errors import ConflictError, NotFoundError, UsageError
from tests.fakes.typed import Typed

MANIFEST: Final = 'name = "greeter"\nversion = "1.0.0"\ndescription = "Greets \\u001b[2J"\n'


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    workspace = tmp_path / "work"
    workspace.mkdir()
    return Typed(workspace)


def write(folder: Path, mark: Path, more: str = "") -> Path:
    """A plugin that leaves a mark when its code runs."""
    folder.mkdir(parents=True)
    (folder / "plugin.toml").write_text(MANIFEST)
    ran = f"import pathlib\npathlib.Path({str(mark)!r}).write_text('ran')\n"
    (folder / "plugin.py").write_text(f"{ran}{more}\nplugin = {{}}\n")
    return folder


def test_looking_where_no_plugin_is_makes_nothing(typed: Typed) -> None:
    assert typed.says("plugin", "list") == "No plugins.\n"
    assert typed.tells("plugin", "list") == {"count": 0, "plugins": []}
    assert list(typed.workspace.iterdir()) == []


def test_a_workspaces_plugin_runs_only_once_it_is_enabled(typed: Typed, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    folder = write(typed.workspace / "plugins" / "greeter", mark)
    (found,) = typed.tells("plugin", "list")["plugins"]
    assert (found["name"], found["status"]) == ("greeter", "unasked")
    typed.says("task", "list")
    typed.says("session", "start")
    assert not mark.exists()
    assert typed.refuses("plugin", "enable", "greeter", "--digest", "other").exit_code == 4
    assert not mark.exists()
    assert typed.tells("plugin", "enable", "greeter")["status"] == "loaded"
    assert mark.exists()
    (folder / "plugin.py").write_text("raise SystemExit")
    assert typed.tells("plugin", "list")["plugins"][0]["status"] == "changed"


def test_the_seeds_add_list_and_remove_work_on_a_folder(typed: Typed, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    folder = write(tmp_path / "elsewhere", mark)
    added = typed.says("plugin", "add", str(folder))
    assert "Status        loaded\n" in added
    assert "Greets ‹U+001B›[2J" in added
    mark.unlink()
    (found,) = typed.tells("plugin", "list")["plugins"]
    assert (found["status"], mark.exists()) == ("enabled", False)
    assert typed.tells("plugin", "disable", "greeter")["status"] == "disabled"
    assert typed.tells("plugin", "enable", "greeter")["status"] == "loaded"
    assert typed.says("plugin", "remove", "greeter") == "Plugin removed.\n"
    assert typed.says("plugin", "list") == "No plugins.\n"
    assert isinstance(typed.refuses("plugin", "remove", "greeter"), NotFoundError)


def test_a_plugin_that_cannot_be_loaded_ends_with_one(typed: Typed, tmp_path: Path) -> None:
    folder = write(tmp_path / "broken", tmp_path / "ran", "raise ValueError('no \\x1b[2J')")
    said = typed.says("plugin", "install", str(folder), code=1)
    assert "ValueError: no ‹U+001B›[2J" in said
    other = write(tmp_path / "other", tmp_path / "ran")
    assert isinstance(typed.refuses("plugin", "install", str(other)), ConflictError)


def test_agentstack_row_135_what_is_no_plugin_is_refused_or_skipped(
    typed: Typed, tmp_path: Path
) -> None:
    assert isinstance(typed.refuses("plugin", "install", str(tmp_path)), UsageError)
    folder = typed.workspace / "plugins" / "bad"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text("{not json")
    (typed.workspace / "plugins" / "empty").mkdir()
    told = typed.tells("plugin", "list")["plugins"]
    assert [one["status"] for one in told if one["status"] == "loaded"] == []
    for verb in ("enable", "disable", "remove"):
        error = typed.refuses("plugin", verb, "nope")
        assert (type(error), error.message) == (NotFoundError, "Plugin not found: nope")

"""`perstack init` and `status`: a folder becomes a project, and says what it holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from perstack.cli.app import app
from perstack.cli.init import EXISTS
from perstack.config.load import load_config
from perstack.config.provider_keys import variables_of
from perstack.config.starter import starter_provider, starter_toml
from perstack.errors import PerstackError
from tests.fakes.cli import SCRIPTED, Program

CANARY = "sk-canary-0123456789abcdef"


def invoke(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def refused(*args: str) -> PerstackError:
    error = invoke(*args).exception
    assert isinstance(error, PerstackError), error
    return error


def test_init_makes_a_project_that_the_check_accepts(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    said = invoke("init", "--path", str(folder))
    assert said.exit_code == 0, said.exception
    assert load_config(folder / "perstack.toml").warnings == ()
    assert (folder / "plugins").is_dir()
    assert "perstack start assistant" in said.stdout
    assert not (folder / ".gitignore").exists(), "this is no git repository"


def test_agentstack_row_139_a_second_init_is_refused_unless_forced(tmp_path: Path) -> None:
    assert invoke("init", "-d", str(tmp_path)).exit_code == 0
    config = tmp_path / "perstack.toml"
    config.write_text("mine")
    error = refused("init", "-d", str(tmp_path))
    assert (error.message, error.exit_code) == (EXISTS, 1)
    assert config.read_text() == "mine"
    assert invoke("init", "-d", str(tmp_path), "--force").exit_code == 0
    assert "[experts" in config.read_text()


def test_records_and_keys_are_kept_out_of_a_repository_and_nothing_else_is_touched(
    tmp_path: Path,
) -> None:
    (tmp_path / ".git").mkdir()
    ignored = tmp_path / ".gitignore"
    ignored.write_text("*.pyc\n.env")
    assert invoke("init", "-d", str(tmp_path)).exit_code == 0
    assert ignored.read_text() == "*.pyc\n.env\nperstack/\n"
    assert invoke("init", "-d", str(tmp_path), "--force").exit_code == 0
    assert ignored.read_text() == "*.pyc\n.env\nperstack/\n"


@pytest.mark.parametrize("provider", ["anthropic", "openai", "google", "deepseek"])
def test_the_team_is_for_the_vendor_whose_key_is_set(tmp_path: Path, provider: str) -> None:
    env = {variables_of(provider)[0]: CANARY}  # pyright: ignore[reportArgumentType]
    assert starter_provider(env) == provider
    path = tmp_path / "perstack.toml"
    path.write_text(starter_toml(starter_provider(env)))
    loaded = load_config(path)
    assert loaded.settings.provider.name == provider
    assert loaded.warnings == ()
    assert CANARY not in path.read_text()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = refused("init", "-d", str(tmp_path / "file" / "below"))
    assert error.exit_code == 5


def test_init_says_what_it_made_as_json(tmp_path: Path) -> None:
    made = json.loads(invoke("init", "-d", str(tmp_path), "--json").stdout)
    assert made["provider"] == "anthropic"
    assert made["needs"] == ["ANTHROPIC_API_KEY"]


def test_status_of_an_empty_folder_tells_and_makes_nothing(tmp_path: Path) -> None:
    said = invoke("status", "--workspace", str(tmp_path))
    assert said.exit_code == 0, said.exception
    assert "built-in Experts alone" in said.stdout
    assert "0 entries" in said.stdout
    assert list(tmp_path.iterdir()) == []


def test_status_counts_what_there_is_and_names_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    workspace = Program.make(tmp_path, SCRIPTED + "[agents]\n").workspace
    assert invoke("agent", "spawn", "-t", "coder", "--workspace", str(workspace)).exit_code == 0
    told = json.loads(invoke("status", "--json", "--workspace", str(workspace)).stdout)
    assert told["agents"]["active"] == 1
    assert told["tasks"] == {"pending": 0, "processing": 0}
    assert told["health"]["status"] == "healthy"
    assert "openai" in told["providers"]["available"]
    text = invoke("status", "--workspace", str(workspace)).stdout
    assert "1 active (1 idle)" in text
    assert CANARY not in text + json.dumps(told)


def test_a_configuration_that_is_broken_is_warned_of_and_status_still_tells(
    tmp_path: Path,
) -> None:
    (tmp_path / "perstack.toml").write_text("model = ")
    said = invoke("status", "--workspace", str(tmp_path))
    assert said.exit_code == 0
    assert "Warning: perstack.toml is left out" in said.stderr


def test_status_of_a_key_is_the_registrys_and_makes_nothing(tmp_path: Path) -> None:
    error = refused("status", "writer@1.0.0", "deprecated", "--workspace", str(tmp_path))
    assert "the registry at http://127.0.0.1:9 wants to know who you are" in error.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("option", "level"), [("-v", "DEBUG"), ("--quiet", "ERROR")])
def test_how_much_is_logged_can_be_said_before_any_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, level: str
) -> None:
    from perstack.log_level import LOG_LEVEL, log_level

    monkeypatch.setenv(LOG_LEVEL, "nonsense")
    assert log_level() == 30
    assert invoke(option, "status", "--workspace", str(tmp_path)).exit_code == 0
    import logging

    assert log_level() == logging.getLevelNamesMapping()[level]


@pytest.mark.parametrize(("command", "is_said"), [("completion", True), ("demo", False)])
def test_with_v_the_log_is_said_on_standard_error_but_not_over_a_screen(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    is_said: bool,
) -> None:
    import logging

    from perstack.log_level import LOG_LEVEL

    monkeypatch.setenv(LOG_LEVEL, "")
    logger = logging.getLogger("perstack")
    before, handlers = logger.level, logger.handlers[:]
    logger.handlers.clear()
    try:
        assert invoke("-v", command, "--help").exit_code == 0
        logging.getLogger("perstack.somewhere").info("found out")
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(before)
    assert ("Info: found out" in capsys.readouterr().err) is is_said

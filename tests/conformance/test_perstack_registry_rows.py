"""Perstack's own cases of publishing, tags and status: rows 33 to 43 of its fact sheet.

The same expectations; nothing of them needs a registry, so none is there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import anyio
import pytest

from tests.fakes.cli import Program, Ran

TEAM: Final = """
[experts."e2e-publish-test"]
version = "1.0.0"
description = "Tests publishing"
instruction = "You are e2e-publish-test."
delegates = ["e2e-helper"]
[experts."e2e-publish-test".skills.web]
type = "mcpStdioSkill"
command = "npx"
args = ["-y", "exa-mcp-server"]
[experts."e2e-helper"]
instruction = "You are e2e-helper."
"""


def typed(tmp_path: Path, *words: str, toml: str | None = TEAM) -> Ran:
    """What the program does in a folder with this configuration, or with none."""
    program = Program.make(tmp_path / "work", toml or "")
    if toml is None:
        (program.workspace / "perstack.toml").unlink()
    return anyio.run(program.run, *words)


def test_row_33_a_dry_run_prints_what_would_be_published(tmp_path: Path) -> None:
    ran = typed(tmp_path, "publish", "e2e-publish-test", "--dry-run")
    assert ran.code == 0
    first, _, rest = ran.stdout.partition("\n")
    assert first == "Dry run - would publish:"
    # As upstream: the args are dropped, and the skill's name is the package's.
    assert json.loads(rest) == {
        "name": "e2e-publish-test",
        "version": "1.0.0",
        "minRuntimeVersion": "v1.0",
        "description": "Tests publishing",
        "instruction": "You are e2e-publish-test.",
        "skills": {
            "@perstack/base": {"type": "baseSkill"},
            "web": {"type": "mcpStdioSkill", "command": "npx", "packageName": "web"},
        },
        "delegates": ["e2e-helper"],
        "tags": ["latest"],
    }
    assert (
        "Warning: e2e-publish-test@1.0.0 is published without the args of skill web" in ran.stderr
    )


def test_row_34_an_unknown_expert_is_not_published(tmp_path: Path) -> None:
    ran = typed(tmp_path, "publish", "e2e-nobody", "--dry-run")
    assert (ran.code, ran.stdout) == (1, "")
    assert "Expert 'e2e-nobody' not found" in ran.stderr


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_row_35_a_configuration_that_is_missing_is_said(
    tmp_path: Path, dry: tuple[str, ...]
) -> None:
    ran = typed(tmp_path, "publish", "e2e-publish-test", *dry, "--config", "nowhere.toml")
    assert (ran.code, ran.stdout) == (1, "")
    assert 'Given config path "nowhere.toml" is not found' in ran.stderr


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_row_36_publishing_needs_a_configuration(tmp_path: Path, dry: tuple[str, ...]) -> None:
    ran = typed(tmp_path, "publish", "e2e-publish-test", *dry, toml=None)
    assert (ran.code, ran.stdout) == (1, "")
    assert "perstack.toml not found" in ran.stderr


@pytest.mark.parametrize("toml", [TEAM, None])
@pytest.mark.parametrize("key", ["no-version", "@org/name", "name@beta"])
def test_row_37_unpublishing_needs_a_version(tmp_path: Path, key: str, toml: str | None) -> None:
    ran = typed(tmp_path, "unpublish", key, "--force", toml=toml)
    assert (ran.code, ran.stdout) == (1, "")
    assert "version" in ran.stderr


def test_row_38_unpublishing_names_the_option_that_it_needs(tmp_path: Path) -> None:
    ran = typed(tmp_path, "unpublish", "expert@1.0.0")
    assert (ran.code, ran.stdout) == (1, "")
    assert "--force" in ran.stderr


@pytest.mark.parametrize("key", ["no-version", "@org/name"])
def test_row_39_tagging_needs_a_version(tmp_path: Path, key: str) -> None:
    ran = typed(tmp_path, "tag", key, "stable")
    assert (ran.code, ran.stdout) == (1, "")
    assert "version" in ran.stderr


def test_row_40_tagging_needs_a_tag(tmp_path: Path) -> None:
    ran = typed(tmp_path, "tag", "expert@1.0.0")
    assert (ran.code, ran.stdout) == (1, "")
    assert "no tag is given" in ran.stderr


@pytest.mark.parametrize("key", ["no-version", "@org/name"])
def test_row_41_a_status_is_that_of_a_version(tmp_path: Path, key: str) -> None:
    ran = typed(tmp_path, "status", key, "deprecated")
    assert (ran.code, ran.stdout) == (1, "")
    assert "version" in ran.stderr


def test_row_42_a_status_has_to_be_given(tmp_path: Path) -> None:
    ran = typed(tmp_path, "status", "expert@1.0.0")
    assert (ran.code, ran.stdout) == (1, "")
    assert "no status is given" in ran.stderr


def test_row_43_a_status_that_there_is_not_is_refused(tmp_path: Path) -> None:
    ran = typed(tmp_path, "status", "expert@1.0.0", "gone")
    assert (ran.code, ran.stdout) == (1, "")
    assert "Must be one of: available, deprecated, disabled" in ran.stderr

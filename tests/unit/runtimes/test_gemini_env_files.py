"""Which variables the Gemini CLI could take from env files that came with a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perstack.runtimes.gemini_env_files import env_files


@pytest.mark.parametrize(
    "text",
    [
        "NAME=x",
        "export NAME = x",
        "NAME: x",
        "A=1\r\nNAME=2\r\n",
        "A='two\nlines' NAME=2",
        "\ufeffNAME=x",
        "NAME\u00a0=x",
        "NAME\n=x",
        "# NAME=x",
    ],
)
def test_every_name_that_a_file_could_set_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / ".env").write_text(text, encoding="utf-8")

    assert "NAME" in env_files(tmp_path, None).names


def test_files_of_every_folder_above_count(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    (tmp_path / "a" / ".gemini").mkdir(parents=True)
    inner.mkdir()
    (tmp_path / ".env").write_text("TOP=1")
    (tmp_path / "a" / ".gemini" / ".env").write_text("MIDDLE=1")
    (inner / ".env").write_text("BOTTOM=1")

    assert env_files(inner, None).names >= {"TOP", "MIDDLE", "BOTTOM"}


def test_what_is_at_its_users_home_is_the_users_own(tmp_path: Path) -> None:
    inner = tmp_path / "work"
    inner.mkdir()
    (tmp_path / ".env").write_text("OWN=1")

    assert "OWN" not in env_files(inner, tmp_path).names
    assert "OWN" not in env_files(tmp_path, tmp_path).names


def test_a_file_that_is_too_long_or_no_file_at_all_is_unclear(tmp_path: Path) -> None:
    for name in ("long", "pipe", "bare", "folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "long" / ".env").write_text("A=1\n" * 100_000)
    os.mkfifo(tmp_path / "pipe" / ".env")
    (tmp_path / "folder" / ".env").mkdir()

    assert env_files(tmp_path / "long", None).unclear
    assert env_files(tmp_path / "pipe", None).unclear
    assert not env_files(tmp_path / "bare", None).unclear
    assert not env_files(tmp_path / "folder", None).unclear

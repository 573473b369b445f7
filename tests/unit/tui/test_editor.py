"""Which editor, how it is called, and what comes back."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.errors import UsageError
from perstack.projection.inert import has_hidden
from perstack_tui.editor import LARGEST, Editor, Sheet, cleaned, ending, find_editor


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for name in ("vi", "code", "my editor"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return tmp_path


def test_visual_comes_before_editor_and_both_before_vi(programs: Path) -> None:
    path = str(programs)
    assert find_editor({"PATH": path, "VISUAL": "code -w", "EDITOR": "vi"}).words == ("code", "-w")
    assert find_editor({"PATH": path, "EDITOR": "code"}).name == "code"
    assert find_editor({"PATH": path, "EDITOR": " "}).words == ("vi",)
    quoted = find_editor({"PATH": path, "EDITOR": f"'{path}/my editor' --x"})
    assert quoted.words == (f"{path}/my editor", "--x")


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"EDITOR": "nowhere-to-be-found -x"}, "names nowhere-to-be-found, which is not"),
        ({"VISUAL": "vi 'unclosed"}, "cannot be read"),
        ({}, "no editor is set"),
        ({"EDITOR": "\x1b]0;x\x07"}, "‹U+001B›"),
    ],
)
def test_missing_editor_is_named(environ: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find_editor({"PATH": str(tmp_path), **environ})
    assert said in caught.value.message
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("vim",), ("vim", "+7", "/w/a.toml")),
        (("/usr/bin/nano", "-w"), ("/usr/bin/nano", "-w", "+7", "/w/a.toml")),
        (("hx",), ("hx", "/w/a.toml:7")),
        (("code", "--wait"), ("code", "--wait", "-g", "/w/a.toml:7")),
        (("ed",), ("ed", "/w/a.toml")),
    ],
)
def test_line_is_said_the_way_the_editor_takes_it(
    words: tuple[str, ...], command: tuple[str, ...]
) -> None:
    assert Editor(words).command(Path("/w/a.toml"), 7) == command
    assert Editor(words).command(Path("/w/a.toml"), 1)[-1] == "/w/a.toml"


def test_window_that_returns_at_once_is_known() -> None:
    assert Editor(("code",)).must_be_told_to_wait
    assert not Editor(("code", "--wait")).must_be_told_to_wait
    assert not Editor(("vim",)).must_be_told_to_wait


def test_text_lies_where_only_its_owner_reads_it_and_leaves_nothing() -> None:
    sheet = Sheet("draft \udc80", ".md")
    assert stat.S_IMODE(sheet.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(sheet.path.parent.stat().st_mode) == 0o700
    assert sheet.saved() is None
    sheet.path.with_name("text.md~").write_text("a copy of the editor's")
    sheet.close()
    assert not sheet.path.parent.exists()
    assert sheet.saved() is None


def test_what_was_saved_comes_back_clean_even_if_it_was_replaced() -> None:
    sheet = Sheet("draft", ".md")
    beside = sheet.path.with_name("new")
    beside.write_bytes(b"one\r\n\ttwo\x1b[31m\xff\xe2\x80\xae three\n")
    beside.replace(sheet.path)
    assert sheet.saved() == "one\n    two[31m� three"
    sheet.path.write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(UsageError, match="1 MB"):
        sheet.saved()
    sheet.close()


@given(st.text())
def test_cleaned_text_hides_nothing(text: str) -> None:
    done = cleaned(text)
    assert not any(has_hidden(line) for line in done.split("\n"))
    assert cleaned(done + "\n") == done


def test_failed_editor_says_how() -> None:
    vi = Editor(("/usr/bin/vi",))
    assert ending(vi, 0) is None
    assert ending(vi, 2) == "vi ended with code 2"
    assert ending(vi, -9) == "vi was ended by signal 9"

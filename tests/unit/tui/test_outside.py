"""What is sent to the terminal besides the picture."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack_tui.outside import LARGEST_COPY, Outside, has_progress

HOSTILE = "a\x1b]52;c;cm0=\x07b\x1b\\c\x9cd\ne\u202e;"
XTERM = {"TERM": "xterm-256color"}


def spoken(environ: dict[str, str]) -> tuple[list[str], Outside]:
    written: list[str] = []
    return written, Outside(written.append, environ)


def test_title_is_written_only_when_it_changes() -> None:
    written, outside = spoken(XTERM)
    outside.title("▲2 notes")
    outside.title("▲2 notes")
    outside.title("▲1 notes")
    assert written == ["\x1b]2;▲2 notes\x07", "\x1b]2;▲1 notes\x07"]


@pytest.mark.parametrize("term", ["linux", "dumb", "vt100", ""])
def test_terminals_without_titles_are_told_none(term: str) -> None:
    written, outside = spoken({"TERM": term})
    outside.title("notes")
    assert written == []
    assert "\x1b[22;2t" not in outside.greeting()
    assert outside.farewell() == ""


def test_greeting_makes_the_title_be_said_again() -> None:
    written, outside = spoken(XTERM)
    outside.title("notes")
    assert outside.greeting() == "\x1b[22;2t"
    outside.title("notes")
    assert len(written) == 2


@given(st.text())
def test_no_text_ends_the_sequence_it_stands_in(text: str) -> None:
    environ = {"TERM": "xterm-kitty"}
    written, outside = spoken(environ)
    outside.title("x" + text + HOSTILE)
    outside.notify(text + HOSTILE, HOSTILE + text)
    title, bell, notice = written
    assert bell == "\x07"
    for sequence, opening in ((title, "\x1b]2;"), (notice, "\x1b]9;")):
        assert sequence.startswith(opening)
        assert sequence.endswith("\x07")
        assert re.search(r"[\x00-\x1f\x7f-\x9f]", sequence[len(opening) : -1]) is None


def test_copied_text_is_base64_without_control_characters() -> None:
    written, outside = spoken(XTERM)
    assert outside.copy("one\n\ttwo\x1b[31m\x00 drei: ü")
    assert len(written) == 1
    found = re.fullmatch(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", written[0])
    assert found is not None
    assert base64.b64decode(found[1]).decode() == "one\n\ttwo[31m drei: ü"


def test_copy_in_tmux_is_said_to_tmux_and_through_it() -> None:
    written, outside = spoken({"TERM": "tmux-256color", "TMUX": "/tmp/x,1,0"})
    assert outside.copy("text")
    plain, wrapped = written
    assert wrapped == f"\x1bPtmux;{plain.replace(chr(27), chr(27) * 2)}\x1b\\"


def test_copy_in_screen_is_cut_into_pieces_that_it_takes() -> None:
    written, outside = spoken({"TERM": "screen", "STY": "1.x"})
    assert outside.copy("word " * 1000)
    pieces = re.findall(r"\x1bP(.*?)\x1b\\", written[0], re.DOTALL)
    assert len(pieces) > 5
    assert max(map(len, pieces)) <= 500
    assert "".join(pieces).startswith("\x1b]52;c;")
    assert "".join(pieces).endswith("\x07")


def test_what_is_longer_than_terminals_take_is_not_sent() -> None:
    written, outside = spoken(XTERM)
    assert not outside.copy("x" * (LARGEST_COPY + 1))
    assert written == []


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({"TERM_PROGRAM": "ghostty"}, True),
        ({"WT_SESSION": "1"}, True),
        ({"TERM_PROGRAM": "iTerm.app", "TERM_PROGRAM_VERSION": "3.5.0"}, False),
        ({"TERM_PROGRAM": "iTerm.app", "TERM_PROGRAM_VERSION": "3.6.10"}, True),
        ({"VTE_VERSION": "7600"}, False),
        ({"VTE_VERSION": "8203"}, True),
        ({"TERM": "xterm-256color"}, False),
    ],
)
def test_progress_is_shown_only_where_it_is_not_taken_for_a_notification(
    environ: dict[str, str], shown: bool
) -> None:
    assert has_progress(environ) is shown
    written, outside = spoken({"TERM": "xterm", **environ})
    outside.progress(working=True, now=0.0)
    assert bool(written) is shown


def test_progress_is_repeated_every_five_seconds_and_put_out_once() -> None:
    written, outside = spoken({"TERM_PROGRAM": "ghostty", "TERM": "xterm-ghostty"})
    for now in range(11):
        outside.progress(working=True, now=float(now))
    outside.progress(working=False, now=11.0)
    outside.progress(working=False, now=12.0)
    assert written == ["\x1b]9;4;3\x07"] * 3 + ["\x1b]9;4;0\x07"]
    assert outside.farewell().startswith("\x1b]9;4;0\x07")


@pytest.mark.parametrize(
    ("environ", "sent"),
    [
        ({"TERM": "foot"}, "\x1b]777;notify;perstack w;devops, done\x07"),
        ({"TERM": "xterm-kitty"}, "\x1b]9;perstack w: devops, done\x07"),
        ({"TERM": "xterm-256color"}, None),
    ],
)
def test_notification_in_the_way_the_terminal_knows(
    environ: dict[str, str], sent: str | None
) -> None:
    written, outside = spoken(environ)
    outside.notify("perstack w", "devops; done")
    assert written == ["\x07", *([sent] if sent else [])]

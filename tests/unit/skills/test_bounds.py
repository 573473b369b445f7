"""What keeps texts and streams within bounds."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest
from anyio.abc import ByteReceiveStream
from hypothesis import given
from hypothesis import strategies as st

from perstack.processes.supervised import Ending
from perstack.skills.base.command import HeadAndTail
from perstack.skills.mcp.redact import Redactor
from perstack.skills.mcp.stderr import MAX_LINE_CHARS, MAX_LINES_A_MINUTE, StderrLog
from perstack.skills.text import cut, printable, storable


class Pieces(ByteReceiveStream):
    """A stream of given pieces."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = list(pieces)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        if not self._pieces:
            raise anyio.EndOfStream
        return self._pieces.pop(0)

    async def aclose(self) -> None:
        self._pieces.clear()


async def _told(*pieces: bytes) -> tuple[list[str], str]:
    told: list[str] = []
    log = StderrLog(told.append, lambda line: line.replace("secret", "***"))
    await log.follow(Pieces(pieces))
    return told, log.tail


@pytest.mark.parametrize("step", [1, 7, 100])
def test_a_stream_is_kept_at_both_ends(step: int) -> None:
    kept = HeadAndTail(10)
    data = b"0123456789abcdefghij"
    for start in range(0, len(data), step):
        kept.add(data[start : start + step])
    assert kept.text() == "01234\n… 10 bytes left out …\nfghij"


@given(
    st.lists(st.sampled_from([b"a\n", b"bc", b"\n", b"x" * 5_000, b"y" * 7])),
    st.integers(2, 20_000),
)
def test_of_any_stream_the_ends_are_kept_and_the_rest_is_counted(
    pieces: list[bytes], at_most: int
) -> None:
    kept = HeadAndTail(at_most)
    for piece in pieces:
        kept.add(piece)
    data = b"".join(pieces).decode()
    head, mark, rest = kept.text().partition("… ")
    count, _, tail = rest.partition(" bytes left out …\n")
    if not mark:
        assert head == data
        return
    left_out = int(count.replace(",", ""))
    head = head if data.startswith(head) else head.removesuffix("\n")
    assert data.startswith(head)
    assert data.endswith(tail)
    assert len(head) + left_out + len(tail) in (len(data), len(data) + 1)
    assert len(head) + len(tail) <= at_most + 1


def test_a_short_stream_is_kept_whole_even_across_a_character() -> None:
    kept = HeadAndTail(6)
    kept.add("aäöü"[:3].encode())
    assert kept.text() == "aäö"


def test_a_cut_text_says_how_much_it_was() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "abc\n… cut: 3 of 4 characters are shown …"


def test_texts_are_made_fit_for_files_and_terminals() -> None:
    assert storable("a\ud800b") == "a?b"
    assert printable("\x1b[31mred\x07") == "\ufffd[31mred\ufffd"


@pytest.mark.anyio
async def test_lines_are_told_whatever_pieces_they_come_in() -> None:
    told, tail = await _told(b"on", b"e\r\ntw", b"o\n\n", b"three")
    assert told == ["one", "two", "three"]
    assert tail == "one\ntwo\nthree"


@pytest.mark.anyio
async def test_control_characters_stay_in_lines_but_not_in_error_messages() -> None:
    told, tail = await _told(b"\x1b]0;title\x07 \xff\n")
    assert told == ["\x1b]0;title\x07 \ufffd"]
    assert tail == "\ufffd]0;title\ufffd \ufffd"


@pytest.mark.anyio
async def test_an_endless_line_is_cut() -> None:
    told, _ = await _told(*[b"x" * 60_000] * 50, b"\nnext\n")
    assert told == ["x" * MAX_LINE_CHARS, "next"]


@pytest.mark.anyio
async def test_too_many_lines_are_counted_not_told() -> None:
    told, tail = await _told(b"secret\n" * (MAX_LINES_A_MINUTE + 5))
    assert told == ["***"] * MAX_LINES_A_MINUTE + ["… 5 more lines were not kept …"]
    assert tail == "\n".join(["***"] * 8)


def test_longer_secrets_go_first_and_short_values_are_no_secrets() -> None:
    clean = Redactor({"KEY": "secret-1", "LONG": "secret-1-and-more", "FLAG": "true"}).clean
    assert clean("secret-1-and-more secret-1 true") == "[LONG] [KEY] true"


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (Ending(code=2), "ended with exit code 2"),
        (Ending(signal=9), "was ended by signal SIGKILL"),
        (Ending(signal=64), "was ended by signal SIGRTMAX"),
        (Ending(signal=99), "was ended by signal 99"),
        (Ending(failure="No such file"), "could not be started: No such file"),
        (Ending(), "ended"),
    ],
)
def test_an_ending_is_put_in_words(ending: Ending, words: str) -> None:
    assert ending.words == words

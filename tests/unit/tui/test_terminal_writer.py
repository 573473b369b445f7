"""Writing to a terminal that takes nothing, or is gone; a pipe stands for it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from perstack_tui.terminal_writer import QUEUED, TerminalWriter

BOUND_S = 20.0


class Ends:
    """Both ends of a pipe, and a writer onto one of them."""

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()
        self.resumed = threading.Event()
        self.writer = TerminalWriter(self._writing, self.resumed.set)
        self._read_open = True

    def hang_up(self) -> None:
        if self._read_open:
            os.close(self.reading)
            self._read_open = False

    def read_until(self, wanted: bytes) -> None:
        seen = b""
        while wanted not in seen:
            piece = os.read(self.reading, 65536)
            assert piece, f"{wanted!r} was not written"
            seen = (seen + piece)[-70_000:]

    def close(self) -> None:
        self.hang_up()
        self.writer.close()
        os.close(self._writing)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def test_what_is_written_arrives_in_order(ends: Ends) -> None:
    for number in range(200):
        ends.writer.write(f"<{number}>")
    ends.writer.close()
    assert os.read(ends.reading, 65536) == b"".join(b"<%d>" % number for number in range(200))
    assert not ends.resumed.is_set()


@pytest.mark.parametrize("size", [1, 100_000])
def test_writing_to_a_terminal_that_is_gone_neither_raises_nor_waits(ends: Ends, size: int) -> None:
    ends.hang_up()
    for _ in range(QUEUED * 10):
        ends.writer.write("x" * size)


def test_terminal_that_takes_nothing_is_left_out_and_told_of_once_it_takes_again(
    ends: Ends,
) -> None:
    for _ in range(QUEUED * 4):
        ends.writer.write("x" * 100_000)
    reader = threading.Thread(target=ends.read_until, args=(b"the end",), daemon=True)
    reader.start()
    assert ends.resumed.wait(BOUND_S)
    ends.writer.write("the end")
    reader.join(BOUND_S)
    assert not reader.is_alive()

"""Printing what was asked for, to a standard output that may go away."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

_IN_MEMORY_BYTES: Final = 4 * 1024 * 1024


class Spool:
    """Lines that are kept until it is known what stands before them; on the disk if they are many.

    The file has no name, so that nothing of it stays.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115  closed by `close`
            max_size=_IN_MEMORY_BYTES, mode="w+", encoding="utf-8", newline="\n"
        )

    def add(self, line: str) -> None:
        """Keep a line.

        Raises:
            StorageError: it cannot be written.
        """
        from perstack.errors import StorageError

        try:
            self._file.write(line + "\n")
        except OSError as error:
            raise StorageError(
                f"a temporary file cannot be written: {error.strerror}",
                hint="ask for less with --take, or free some space",
            ) from error

    def __iter__(self) -> Iterator[str]:
        """Yield the lines, each with its end."""
        self._file.seek(0)
        return iter(self._file)

    def close(self) -> None:
        """Forget them."""
        self._file.close()


@contextmanager
def spooled() -> Generator[Spool]:
    """Yield a spool that is closed at the end."""
    spool = Spool()
    try:
        yield spool
    finally:
        spool.close()


@contextmanager
def to_stdout() -> Generator[TextIO]:
    """Yield standard output; a reader that went away (`| head`) ends the block and is no error.

    Raises:
        StorageError: it cannot be written.
    """
    from perstack.errors import StorageError

    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        # What Python still holds back would fail again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise StorageError(f"standard output cannot be written: {error.strerror}") from error


def print_pieces(pieces: Iterable[str]) -> None:
    """Write to standard output, as `to_stdout` does.

    Raises:
        StorageError: it cannot be written.
    """
    with to_stdout() as out:
        for piece in pieces:
            out.write(piece)


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to standard output, as `print_pieces` does."""
    print_pieces(line + "\n" for line in lines)

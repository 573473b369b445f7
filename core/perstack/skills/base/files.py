"""Tools that read and write text files."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final, TextIO

from anyio import from_thread
from pydantic import JsonValue

from perstack.skills.base.arguments import (
    EditArguments,
    PathArguments,
    ReadArguments,
    TextArguments,
)
from perstack.skills.base.failure import ToolFailure
from perstack.skills.base.paths import Place, Workspace

Json = dict[str, JsonValue]

MAX_READ_CHARS: Final = 200_000
MAX_EDIT_BYTES: Final = 20_000_000
MAX_ECHO_CHARS: Final = 2_000
TEMPORARY_PREFIX: Final = ".perstack-"
_PIECE: Final = 65_536
_LINES_BETWEEN_CHECKS: Final = 1_000


def read_text_file(workspace: Workspace, args: ReadArguments) -> Json:
    """Return lines `from` up to `to`, as many as fit; say what was left out."""
    with _reading(workspace, args.path) as file:
        _refuse_binary(file, args.path)
        with open(
            file.fileno(), encoding="utf-8", errors="replace", newline="", closefd=False
        ) as text:
            return {"path": args.path} | _read_lines(text, args.from_, args.to)


def write_text_file(workspace: Workspace, args: TextArguments) -> Json:
    """Make the file hold exactly `text`; missing directories are made."""
    data = _encoded(args.text)
    with workspace.locate(args.path, make_parents=True) as place:
        _replace(place, data, args.path)
    return {"path": args.path, "text": _echo(args.text)}


def append_text_file(workspace: Workspace, args: TextArguments) -> Json:
    """Add `text` to the end of an existing file."""
    data = _encoded(args.text)
    with workspace.locate(args.path) as place:
        check_file(place, args.path)
        _check_writable(place, args.path)
        with _opened(place, args.path, to_append=True) as file:
            if os.fstat(file.fileno()).st_nlink > 1:
                raise ToolFailure("AccessDenied", f"{args.path} also has another name (hard link).")
            file.write(data)
    return {"path": args.path, "text": _echo(args.text)}


def edit_text_file(workspace: Workspace, args: EditArguments) -> Json:
    """Replace the first place that reads `old_text`, whatever its line ends, by `new_text`."""
    with workspace.locate(args.path) as place:
        content = _whole_text(place, args.path)
        # A literal search in which a line end of either kind matches a line end of either kind.
        wanted = re.escape(args.old_text.replace("\r\n", "\n")).replace("\\\n", "\r?\n")
        match = re.search(wanted, content)
        if match is None:
            raise ToolFailure(
                "NoMatch", f"Could not find exact match for oldText in file {args.path}"
            )
        new_text = args.new_text.replace("\r\n", "\n")
        if "\r\n" in (match.group() if "\n" in match.group() else content):
            new_text = new_text.replace("\n", "\r\n")
        edited = content[: match.start()] + new_text + content[match.end() :]
        _replace(place, _encoded(edited), args.path)
    return {
        "path": args.path,
        "newText": _echo(args.new_text),
        "oldText": _echo(args.old_text),
    }


def delete_file(workspace: Workspace, args: PathArguments) -> Json:
    """Delete a file."""
    with workspace.locate(args.path) as place:
        check_file(place, args.path)
        os.unlink(place.name, dir_fd=place.directory)
    return {"path": args.path}


def read_bytes(workspace: Workspace, path: str, *, at_most: int) -> bytes:
    """Return a whole file.

    Raises:
        ToolFailure: it is larger than `at_most` bytes, or no readable file.
    """
    with _reading(workspace, path) as file:
        data = file.read(at_most + 1)
    if len(data) > at_most:
        raise ToolFailure("TooLarge", f"{path} is larger than {at_most:,} bytes.")
    return data


def check_file(place: Place, path: str) -> None:
    """Raise a ToolFailure unless `place` is a regular file."""
    if place.found is None:
        raise ToolFailure("NotFound", f"File {path} does not exist.")
    if place.is_directory:
        raise ToolFailure("IsADirectory", f"{path} is a directory.")
    if not place.is_file:
        raise ToolFailure("NotAFile", f"{path} is not a regular file.")


@contextmanager
def _reading(workspace: Workspace, path: str) -> Generator[BinaryIO, None, None]:
    with workspace.locate(path, follow=True) as place:
        check_file(place, path)
        with _opened(place, path) as file:
            yield file


@contextmanager
def _opened(place: Place, path: str, *, to_append: bool = False) -> Generator[BinaryIO, None, None]:
    """Open a regular file; what took its name since it was looked at may be a device or a pipe."""
    fd = place.open(os.O_WRONLY | os.O_APPEND if to_append else os.O_RDONLY)
    with os.fdopen(fd, "ab" if to_append else "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ToolFailure("NotAFile", f"{path} is not a regular file.")
        yield file


def _refuse_binary(file: BinaryIO, path: str) -> None:
    if b"\0" in file.read(_PIECE):
        raise ToolFailure("NotText", f"{path} is not a text file.")
    file.seek(0)


def _read_lines(text: TextIO, first: int, stop: int | None) -> Json:
    pieces: list[str] = []
    length = number = 0
    while (stop is None or number < stop) and (piece := text.readline(_PIECE)):
        if number % _LINES_BETWEEN_CHECKS == 0:
            from_thread.check_cancelled()  # to come to a line far down may take long
        if number >= first:
            room = MAX_READ_CHARS - length
            if len(piece) > room:
                return _cut(pieces, piece[:room], first, number)
            pieces.append(piece)
            length += len(piece)
        if piece.endswith("\n"):
            number += 1
    partial = bool(pieces) and not pieces[-1].endswith("\n")
    end = max(first, number + 1 if partial else number)
    return {"content": "".join(pieces), "from": first, "to": end}


def _cut(pieces: list[str], start_of_next: str, first: int, number: int) -> Json:
    """Return whole lines where there is one, else as much of the first as fits."""
    while pieces and not pieces[-1].endswith("\n"):
        start_of_next = pieces.pop() + start_of_next
    if pieces:
        note = f"Cut at {MAX_READ_CHARS:,} characters. To read on, ask from {number}."
        return {"content": "".join(pieces), "from": first, "to": number, "note": note}
    note = f"Line {number} is longer than {MAX_READ_CHARS:,} characters; the rest was left out."
    return {"content": start_of_next, "from": first, "to": number + 1, "note": note}


def _whole_text(place: Place, path: str) -> str:
    check_file(place, path)
    with _opened(place, path) as file:
        data = file.read(MAX_EDIT_BYTES + 1)
    if len(data) > MAX_EDIT_BYTES:
        raise ToolFailure("TooLarge", f"{path} is larger than {MAX_EDIT_BYTES:,} bytes.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ToolFailure("NotText", f"{path} is not UTF-8 text.") from error


def _replace(place: Place, data: bytes, path: str) -> None:
    """Put a file with `data` in the place of what is there; it is whole at any moment."""
    mode = None
    if place.found is not None:
        check_file(place, path)
        _check_writable(place, path)
        mode = stat.S_IMODE(place.found.st_mode)
    temporary = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.tmp"
    beside = Place(place.directory, temporary, temporary, None)
    try:
        with os.fdopen(beside.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(data)
        os.rename(temporary, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=place.directory)
        raise


def _check_writable(place: Place, path: str) -> None:
    protected = place.found is not None and not place.found.st_mode & 0o222
    if protected or not place.may(os.W_OK):
        raise ToolFailure("NotWritable", f"File {path} is not writable.")


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ToolFailure(
            "NotText", "The text holds half a character (a lone surrogate)."
        ) from error


def _echo(text: str) -> str:
    """What was written, for the model to see it worked, not to pay for it twice."""
    if len(text) <= MAX_ECHO_CHARS:
        return text
    return f"{text[:MAX_ECHO_CHARS]}… ({len(text):,} characters)"

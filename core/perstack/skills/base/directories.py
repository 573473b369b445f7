"""Tools for directories, moving, and looking at what is there."""

from __future__ import annotations

import errno
import mimetypes
import os
import shutil
import stat
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Final

from pydantic import JsonValue

from perstack.skills.base.arguments import DeleteDirectoryArguments, MoveArguments, PathArguments
from perstack.skills.base.failure import ToolFailure
from perstack.skills.base.files import TEMPORARY_PREFIX
from perstack.skills.base.paths import DATA_DIRECTORY, Place, Workspace, translated
from perstack.skills.base.rename import rename_to_new

Json = dict[str, JsonValue]

MAX_ENTRIES: Final = 1_000


def list_directory(workspace: Workspace, args: PathArguments) -> Json:
    """Return what is in a directory, sorted by name; the data directory is not shown."""
    fd = workspace.open_directory(args.path)
    try:
        is_root = os.path.samestat(os.fstat(fd), workspace.path.stat())
        with os.scandir(fd) as entries:
            names = sorted(e.name for e in entries if not _is_hidden(e.name, is_root=is_root))
        items = [_item(fd, name, args.path) for name in names[:MAX_ENTRIES]]
    finally:
        os.close(fd)
    listing: Json = {"path": args.path, "items": [item for item in items if item is not None]}
    if len(names) > MAX_ENTRIES:
        listing["note"] = f"Only the first {MAX_ENTRIES:,} of {len(names):,} entries are shown."
    return listing


def create_directory(workspace: Workspace, args: PathArguments) -> Json:
    """Make a directory, and those above it that are missing."""
    with workspace.locate(args.path, make_parents=True) as place:
        if place.found is not None:
            raise _exists(args.path)
        os.mkdir(place.name, dir_fd=place.directory)
    return {"path": args.path}


def delete_directory(workspace: Workspace, args: DeleteDirectoryArguments) -> Json:
    """Delete a directory; one that holds something only if `recursive` says so."""
    with workspace.locate(args.path) as place:
        if place.found is None:
            raise ToolFailure("NotFound", f"Directory {args.path} does not exist.")
        if place.is_root or not place.is_directory:
            raise ToolFailure("NotADirectory", f"{args.path} is not a directory to delete.")
        workspace.refuse_holder_of_data(place)
        if args.recursive:
            _remove_all(place, args.path)
        else:
            _remove_empty(place, args.path)
    return {"path": args.path}


def move_file(workspace: Workspace, args: MoveArguments) -> Json:
    """Give a file or directory another name; nothing is overwritten."""
    with (
        workspace.locate(args.source) as source,
        workspace.locate(args.destination, make_parents=True) as target,
    ):
        if source.found is None:
            raise ToolFailure("NotFound", f"File {args.source} does not exist.")
        if source.is_root:
            raise ToolFailure("AccessDenied", "The workspace itself cannot be moved.")
        if target.found is not None:
            raise _exists(args.destination)
        workspace.refuse_holder_of_data(source)
        try:
            rename_to_new(source, target)
        except FileExistsError as error:
            raise _exists(args.destination) from error
        except OSError as error:
            raise translated(error, args.source) from error
    return {"source": args.source, "destination": args.destination}


def get_file_info(workspace: Workspace, args: PathArguments) -> Json:
    """Return what is known about a file or directory, or that there is none."""
    with workspace.locate(args.path, follow=True) as place:
        pure = PurePosixPath(place.relative)
        known: Json = {
            "exists": place.found is not None,
            "path": args.path,
            "absolutePath": str(workspace.path / pure),
            "name": pure.name or workspace.path.name,
            "directory": str(workspace.path / pure.parent),
            "extension": pure.suffix or None,
        }
        if place.found is None:
            return known
        return known | _details(place, place.found)


def _details(place: Place, found: os.stat_result) -> Json:
    return {
        "type": _kind(found),
        "mimeType": mimetypes.guess_type(place.relative)[0] if place.is_file else None,
        "size": found.st_size,
        "sizeFormatted": _formatted(found.st_size),
        "created": _iso(found.st_ctime),
        "modified": _iso(found.st_mtime),
        "accessed": _iso(found.st_atime),
        "permissions": {
            "readable": place.may(os.R_OK),
            "writable": place.may(os.W_OK),
            "executable": place.may(os.X_OK),
        },
    }


def _is_hidden(name: str, *, is_root: bool) -> bool:
    return name.startswith(TEMPORARY_PREFIX) or (is_root and name.casefold() == DATA_DIRECTORY)


def _item(fd: int, name: str, path: str) -> Json | None:
    try:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return {
        "name": name,
        "path": str(PurePosixPath(path) / name),
        "type": _kind(found),
        "size": found.st_size,
        "modified": _iso(found.st_mtime),
    }


def _kind(found: os.stat_result) -> str:
    if stat.S_ISDIR(found.st_mode):
        return "directory"
    if stat.S_ISREG(found.st_mode):
        return "file"
    return "symlink" if stat.S_ISLNK(found.st_mode) else "other"


def _exists(path: str) -> ToolFailure:
    return ToolFailure("AlreadyExists", f"{path} already exists.")


def _remove_all(place: Place, path: str) -> None:
    try:
        shutil.rmtree(place.name, dir_fd=place.directory)
    except RecursionError as error:
        raise ToolFailure("TooDeep", f"{path} is nested too deeply to be deleted so.") from error
    except OSError as error:
        raise translated(error, path) from error


def _remove_empty(place: Place, path: str) -> None:
    try:
        os.rmdir(place.name, dir_fd=place.directory)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise ToolFailure(
                "NotEmpty", f"Directory {path} is not empty; recursive deletes what is in it."
            ) from error
        raise translated(error, path) from error


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _formatted(size: int) -> str:
    amount = float(size)
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1024:
            return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TB"

"""Hearing that files of the user's were saved, without looking at them again and again."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing, suppress
from importlib import import_module
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

_LOG: Final = logging.getLogger(__name__)
_BEGUN_S: Final = 0.3
_STEP_MS: Final = 200
_LOOK_AGAIN_MS: Final = 500
_DEBOUNCE_MS: Final = 400


async def follow(
    files: Sequence[Path], folders: Sequence[Path], saved: Callable[[], Awaitable[None]]
) -> None:
    """Call `saved` whenever a file, or a TOML file in one of `folders`, may have changed.

    It is called once at the beginning, too. Folders that are not there yet are waited for at the
    nearest one above them. Where the system has no file events, it is not called again.
    """
    await anyio.to_thread.run_sync(import_module, "watchfiles")
    places = await anyio.to_thread.run_sync(watched_folders, files, folders)
    while places:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_a_little_later, saved)
                async with aclosing(_changes(places)) as changes:
                    async for _ in changes:
                        await saved()
                        now = await anyio.to_thread.run_sync(watched_folders, files, folders)
                        if now != places:
                            places = now
                            break
        except* (OSError, RuntimeError) as errors:
            _LOG.warning("file events are not available: %s", errors.exceptions[0])
            places = frozenset[Path]()


async def _a_little_later(saved: Callable[[], Awaitable[None]]) -> None:
    """What is saved before the watch has begun makes no event."""
    await anyio.sleep(_BEGUN_S)
    await saved()


def _changes(places: frozenset[Path]) -> AsyncGenerator[Collection[object], None]:
    import watchfiles

    return watchfiles.awatch(  # pyright: ignore[reportUnknownMemberType]
        *places,
        watch_filter=lambda _change, path: path.endswith(".toml") or Path(path).suffix == "",
        debounce=_DEBOUNCE_MS,
        step=_STEP_MS,
        # Not for ever: a thread that waits so cannot be told that the cockpit ends.
        rust_timeout=_LOOK_AGAIN_MS,
        recursive=False,
    )


def watched_folders(files: Sequence[Path], folders: Sequence[Path]) -> frozenset[Path]:
    """Return the folders to watch: a file's own, and where a link to it leads."""
    wanted = [*folders]
    for file in files:
        wanted.append(file.parent)
        with suppress(OSError, RuntimeError):  # A link that leads to itself, or out of sight.
            wanted.append(file.resolve().parent)
    return frozenset(place for folder in wanted if (place := _nearest(folder)) is not None)


def _nearest(folder: Path) -> Path | None:
    """Return the folder, or the nearest above it that there is, short of the root."""
    for place in (folder, *folder.parents):
        if _is_visible(place):
            return place if place != Path(place.anchor) else None
    return None


def _is_visible(place: Path) -> bool:
    try:
        return place.is_dir() and os.access(place, os.R_OK | os.X_OK)
    except (OSError, ValueError):
        return False

"""Hot reload: follow a configuration file however its editor saves it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Final, Literal

import anyio
from anyio import to_thread

from perstack.config.diff import diff_configs
from perstack.config.find import ConfigUrl
from perstack.config.load import LoadedConfig, load_source, parse_config, read_config
from perstack.errors import ConfigError

_log = logging.getLogger(__name__)

_DEBOUNCE_MS: Final = 50
_STEP_MS: Final = 50
_LOOK_EVERY_MS: Final = 500
_QUIET_S: Final = 0.04
_ERROR_QUIET_S: Final = 0.1
_ROUNDS: Final = 10

Reading = bytes | ConfigError
Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """The file was saved. Either `config` or `error` is set.

    With an `error` the last good configuration stays in force. `changes` are the phrases of
    `diff_configs` against that one; they may be empty (a comment was edited, an error mended).
    """

    config: LoadedConfig | None
    error: ConfigError | None
    changes: tuple[str, ...] = ()


async def watch_config(
    source: Path | ConfigUrl,
    *,
    current: LoadedConfig | None = None,
    workspace: Path = Path(),
) -> AsyncGenerator[ConfigChange, None]:
    """Yield a change for every save that alters the file, within about 300 ms; never ends.

    `current` is what the caller loaded last; without it the first reading is yielded at once.
    A file that is missing, half-written or unreadable for less than about 100 ms is no change. A
    file saved with the same content is none either, unless an error was told before. Close the
    generator (`contextlib.aclosing`) to stop watching.

    What is at a URL is fetched once for the `workspace`, and told; nothing follows.
    """
    told = Told(good=current)
    if not isinstance(source, Path):
        if change := told.compare(await _fetched(source, workspace)):
            yield change
        return
    watcher = FileWatcher(source.absolute())
    try:
        while True:
            change = told.compare(await _read_settled(source))
            if change is not None:
                yield change
            await watcher.wait()
    finally:
        watcher.stop()


@dataclass(slots=True)
class Told:
    """What the consumer knows: the last good configuration and the error told since."""

    good: LoadedConfig | None
    error: str | None = None

    def compare(self, reading: LoadedConfig | ConfigError) -> ConfigChange | None:
        """Return what is new to the consumer, and remember it as told."""
        if isinstance(reading, ConfigError):
            if reading.message == self.error:
                return None
            self.error = reading.message
            return ConfigChange(config=None, error=reading)
        old, mended = self.good, self.error is not None
        if old is not None and old.text_hash == reading.text_hash and not mended:
            return None
        self.good, self.error = reading, None
        return ConfigChange(
            config=reading, error=None, changes=diff_configs(old, reading) if old else ()
        )


async def _fetched(url: ConfigUrl, workspace: Path) -> LoadedConfig | ConfigError:
    try:
        return await to_thread.run_sync(
            partial(load_source, url, workspace=workspace), abandon_on_cancel=True
        )
    except ConfigError as error:
        return error


async def _read_settled(path: Path) -> LoadedConfig | ConfigError:
    """Read the file once it has stopped changing; an error must last to count."""
    data = await to_thread.run_sync(_read, path)
    for _ in range(_ROUNDS):
        result = await to_thread.run_sync(_parse, path, data)
        # An emptied file parses, but is far more often a save in progress.
        doubtful = isinstance(result, ConfigError) or not result.experts
        await anyio.sleep(_ERROR_QUIET_S if doubtful else _QUIET_S)
        again = await to_thread.run_sync(_read, path)
        if _same(data, again):
            return result
        data = again
    return await to_thread.run_sync(_parse, path, data)


def _read(path: Path) -> Reading:
    try:
        return read_config(path)
    except ConfigError as error:
        return error


def _parse(path: Path, data: Reading) -> LoadedConfig | ConfigError:
    if isinstance(data, ConfigError):
        return data
    try:
        return parse_config(path, data)
    except ConfigError as error:
        return error


def _same(first: Reading, second: Reading) -> bool:
    if isinstance(first, ConfigError) and isinstance(second, ConfigError):
        return first.message == second.message
    return first == second


class FileWatcher:
    """Waits until the file may have changed.

    It watches the folder, because a watch on a file goes deaf when an editor replaces the file.
    File events are a matter of speed only: what they miss (a target behind a symbolic link, a
    network folder, the moment before the watch began) a look at the file's stamp finds.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stop = Event()
        self._stamp: Stamp | Literal["not looked at"] = "not looked at"
        self._events: Iterator[Collection[object]] | None = None
        self._deaf = False

    async def wait(self) -> None:
        """Return when the file may have changed; at once the first time."""
        while not await to_thread.run_sync(self._look, abandon_on_cancel=True):
            pass

    def stop(self) -> None:
        """End the watch; the thread that waits for events ends within milliseconds."""
        self._stop.set()

    def _look(self) -> bool:
        """Wait for an event, half a second at most; tell if there was one, or a new stamp."""
        happened = self._next_event()
        before, self._stamp = self._stamp, _stamp(self._path)
        return happened or self._stamp != before

    def _next_event(self) -> bool:
        if not self._deaf:
            try:
                self._events = self._events or self._open()
                return bool(next(self._events, ()))
            except (OSError, RuntimeError) as error:  # no folder, or no more watches allowed
                _log.warning("file events are not available, looking at intervals: %s", error)
                self._deaf = True
        self._stop.wait(_LOOK_EVERY_MS / 1_000)
        return False

    def _open(self) -> Iterator[Collection[object]]:
        import watchfiles

        return watchfiles.watch(
            self._path.parent,
            watch_filter=self._is_ours,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            rust_timeout=_LOOK_EVERY_MS,
            yield_on_timeout=True,
            stop_event=self._stop,
            raise_interrupt=False,
            recursive=False,
        )

    def _is_ours(self, _change: object, changed: str) -> bool:
        return Path(changed).name == self._path.name


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns

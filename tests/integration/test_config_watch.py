"""Hot reload over a real folder: each way in which editors save a file."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from perstack.config.load import load_config
from perstack.config.watch import ConfigChange, FileWatcher, watch_config

pytestmark = pytest.mark.anyio

GOOD = '[experts.writer]\ninstruction = "Write."\n'
WITH_REVIEWER = GOOD + '[experts.reviewer]\ninstruction = "Review."\n'
BROKEN = '[experts.writer\ninstruction = "Write."\n'


class Watched:
    """A file and the changes that its watcher tells."""

    def __init__(self, path: Path, changes: AsyncGenerator[ConfigChange, None]) -> None:
        self.path = path
        self._changes = changes

    async def next(self) -> ConfigChange:
        with anyio.fail_after(20):
            return await anext(self._changes)

    async def next_is(self, *changes: str) -> None:
        """Assert that the very next thing told is a good file with these changes."""
        told = await self.next()
        assert told.error is None
        assert told.config is not None
        assert told.changes == changes


@asynccontextmanager
async def watched(path: Path) -> AsyncGenerator[Watched, None]:
    async with aclosing(watch_config(path, current=load_config(path))) as changes:
        yield Watched(path, changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "perstack.toml"
    path.write_text(GOOD)
    return path


def write_plainly(path: Path, text: str) -> None:
    path.write_text(text)


def write_in_pieces(path: Path, text: str) -> None:
    with path.open("w") as file:
        for piece in (text[:10], text[10:25], text[25:]):
            file.write(piece)
            file.flush()


def replace_atomically(path: Path, text: str) -> None:
    new = path.with_suffix(".toml.tmp")
    new.write_text(text)
    new.replace(path)


def delete_and_create(path: Path, text: str) -> None:
    path.with_name(".perstack.toml.swp").write_text("swap")
    path.rename(path.with_name("perstack.toml~"))
    path.write_text(text)
    path.with_name("perstack.toml~").unlink()


SAVES = [write_plainly, write_in_pieces, replace_atomically, delete_and_create]


@pytest.mark.parametrize("save", SAVES)
async def test_each_way_of_saving_is_followed_time_and_again(
    path: Path, save: Callable[[Path, str], None]
) -> None:
    async with watched(path) as file:
        for _ in range(3):
            save(path, WITH_REVIEWER)
            await file.next_is("reviewer new")
            save(path, GOOD)
            await file.next_is("reviewer removed")


async def test_the_first_reading_is_told_when_the_caller_has_none(path: Path) -> None:
    async with aclosing(watch_config(path)) as changes:
        first = await anext(changes)
    assert first.config == load_config(path)
    assert first.changes == ()


async def test_a_save_before_the_watch_began_is_told(path: Path) -> None:
    old = load_config(path)
    path.write_text(WITH_REVIEWER)
    async with aclosing(watch_config(path, current=old)) as changes:
        assert (await anext(changes)).changes == ("reviewer new",)


async def test_the_same_content_and_other_files_are_no_change(path: Path) -> None:
    async with watched(path) as file:
        replace_atomically(path, GOOD)
        path.touch()
        path.with_name("perstack.toml.swp").write_text("x")
        path.with_name("other.toml").write_text("x")
        path.write_text(WITH_REVIEWER)
        await file.next_is("reviewer new")


async def test_a_comment_is_told_without_changes(path: Path) -> None:
    async with watched(path) as file:
        path.write_text("# note\n" + GOOD)
        await file.next_is()


async def test_an_error_is_told_once_and_keeps_the_last_good_file(path: Path) -> None:
    async with watched(path) as file:
        path.write_text(BROKEN)
        told = await file.next()
        assert told.config is None
        assert told.error is not None
        assert "is not valid TOML at line 1" in told.error.message
        replace_atomically(path, BROKEN)
        path.write_text(WITH_REVIEWER)
        await file.next_is("reviewer new")


async def test_an_error_that_changes_is_told_again(path: Path) -> None:
    async with watched(path) as file:
        path.write_text(BROKEN)
        first = await file.next()
        path.write_text(GOOD + "maxSteps = 0\n[consensus]\nenabled = 1\n")
        second = await file.next()
        assert first.error is not None
        assert second.error is not None
        assert "consensus.enabled (line 5)" in second.error.message


async def test_going_back_to_the_last_good_content_clears_the_error(path: Path) -> None:
    async with watched(path) as file:
        path.write_text(BROKEN)
        assert (await file.next()).error is not None
        path.write_text(GOOD)
        await file.next_is()


async def test_a_deleted_file_is_an_error_until_it_comes_back(path: Path) -> None:
    async with watched(path) as file:
        path.unlink()
        told = await file.next()
        assert told.error is not None
        assert told.error.message.endswith("is not found")
        path.write_text(GOOD)
        await file.next_is()


async def test_a_folder_that_is_replaced_is_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    path = folder / "perstack.toml"
    path.write_text(GOOD)
    async with watched(path) as file:
        for _ in range(2):  # so that the watch is on when the folder goes
            path.write_text("# note\n" + path.read_text())
            await file.next_is()
        folder.rename(tmp_path / "old")
        assert (await file.next()).error is not None
        folder.mkdir()
        path.write_text(WITH_REVIEWER)
        await file.next_is("reviewer new")


async def test_the_target_of_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "team.toml"
    target.parent.mkdir()
    target.write_text(GOOD)
    link = tmp_path / "perstack.toml"
    link.symlink_to(target)
    async with watched(link) as file:
        target.write_text(WITH_REVIEWER)
        await file.next_is("reviewer new")
        other = tmp_path / "elsewhere" / "other.toml"
        other.write_text(GOOD)
        (tmp_path / "new").symlink_to(other)
        (tmp_path / "new").replace(link)
        await file.next_is("reviewer removed")


async def test_without_file_events_the_stamp_is_looked_at(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more_watches(_watcher: FileWatcher) -> Iterator[Collection[object]]:
        raise OSError(24, "inotify watch limit reached")

    monkeypatch.setattr(FileWatcher, "_open", no_more_watches)
    async with watched(path) as file:
        replace_atomically(path, WITH_REVIEWER)
        await file.next_is("reviewer new")


async def test_a_folder_that_goes_before_the_watch_began_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    path = folder / "perstack.toml"
    path.write_text(GOOD)
    async with watched(path) as file:
        path.write_text(WITH_REVIEWER)
        await file.next_is("reviewer new")
        folder.rename(tmp_path / "old")
        assert (await file.next()).error is not None


async def test_a_missing_folder_is_told_and_may_appear(tmp_path: Path) -> None:
    path = tmp_path / "later" / "perstack.toml"
    async with aclosing(watch_config(path)) as changes:
        file = Watched(path, changes)
        assert (await file.next()).error is not None
        path.parent.mkdir()
        path.write_text(GOOD)
        await file.next_is()


async def test_cancelling_ends_the_watch(path: Path) -> None:
    async def follow() -> None:
        async with watched(path) as file:
            started.set()
            await file.next()

    started = anyio.Event()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await started.wait()
            group.cancel_scope.cancel()


async def test_a_hundred_quick_saves_never_show_an_error(path: Path) -> None:
    async with watched(path) as file:
        for number in range(100):
            SAVES[number % len(SAVES)](path, f"maxSteps = {number + 1}\n{GOOD}")
        told = await file.next()
        while told.config is None or told.config.settings.max_steps != 100:
            assert told.error is None
            told = await file.next()

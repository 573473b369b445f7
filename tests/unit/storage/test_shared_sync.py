"""Syncing a folder once for everyone who asks at one time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perstack.storage.files import Files, SharedSync

WITHIN_S = 10


class SlowFiles(Files):
    """Syncing waits until it is let go on; the first `failing` times it fails."""

    def __init__(self, *, failing: int = 0) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.failing = failing
        self.synced = 0

    def sync_folder(self, path: Path) -> None:
        self.begun.release()
        assert self.go_on.acquire(timeout=WITHIN_S)
        if self.failing:
            self.failing -= 1
            raise OSError("the disk said no")
        self.synced += 1


def test_those_who_ask_during_a_sync_share_the_next_one(tmp_path: Path) -> None:
    files = SlowFiles()
    shared = SharedSync(files, tmp_path)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(shared.sync)
        assert files.begun.acquire(timeout=WITHIN_S)
        others = [pool.submit(shared.sync) for _ in range(4)]
        ends = time.monotonic() + WITHIN_S
        while shared.asked < 5:
            assert time.monotonic() < ends
        files.go_on.release(5)
        for one in (first, *others):
            one.result(timeout=WITHIN_S)

    assert files.synced == 2


def test_a_sync_that_fails_is_tried_again_for_those_who_waited(tmp_path: Path) -> None:
    files = SlowFiles(failing=1)
    shared = SharedSync(files, tmp_path)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(shared.sync)
        assert files.begun.acquire(timeout=WITHIN_S)
        second = pool.submit(shared.sync)
        files.go_on.release(2)
        with pytest.raises(OSError, match="the disk said no"):
            first.result(timeout=WITHIN_S)
        second.result(timeout=WITHIN_S)

    assert files.synced == 1


def test_each_that_asks_later_syncs_again(tmp_path: Path) -> None:
    files = SlowFiles()
    files.go_on.release(2)
    shared = SharedSync(files, tmp_path)

    shared.sync()
    shared.sync()

    assert files.synced == 2

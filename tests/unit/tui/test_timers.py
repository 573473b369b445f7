"""What is to be done once is done once, however soon and however busy the machine."""

from __future__ import annotations

import pytest
from textual.app import App

from perstack_tui.timers import after

pytestmark = pytest.mark.anyio


async def test_what_is_due_before_it_is_looked_at_is_done_once() -> None:
    app, done = App[None](), list[str]()
    async with app.run_test(size=(20, 5)) as pilot:
        # So soon that it is over by the time anybody looks.
        after(app, 1e-9, lambda: done.append("done"))
        for _ in range(20):
            await pilot.pause(0.001)
        assert done == ["done"]

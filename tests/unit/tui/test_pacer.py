"""How often is painted: rarely where painting is slow, at once for keys."""

from __future__ import annotations

import pytest
from textual.app import App

from perstack_tui.pacer import FRAME_S, SLOWEST_FRAME_S, Pacer

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds that go on when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("paint_s", "frame_s"),
    [(0.0, FRAME_S), (0.004, FRAME_S), (0.012, 0.12), (0.5, SLOWEST_FRAME_S)],
)
async def test_a_paint_that_takes_long_is_made_less_often(paint_s: float, frame_s: float) -> None:
    clock = Clock()

    def paint() -> None:
        clock.now += paint_s

    app: App[int] = App()
    async with app.run_test() as pilot:
        pacer = Pacer(app, paint, clock)
        pacer.request(now=False)
        await pilot.pause()
        began, painted = clock.now - paint_s, pacer.paints
        assert painted == 1
        clock.now = began + frame_s + 0.001
        pacer.request(now=False)
        await pilot.pause()
        assert pacer.paints == 2


async def test_a_key_is_painted_at_once_however_long_a_paint_takes() -> None:
    clock = Clock()

    def paint() -> None:
        clock.now += 0.5

    app: App[int] = App()
    async with app.run_test() as pilot:
        pacer = Pacer(app, paint, clock)
        for count in (1, 2, 3):
            pacer.request(now=True)
            await pilot.pause()
            assert pacer.paints == count

"""Models that never come to an end; something of ours must."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.engine import World, done, expert, says

pytestmark = pytest.mark.anyio


async def test_row_l9_a_model_that_only_ever_asks_for_tools_is_stopped_by_max_steps(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, lambda _, __: says("", ("nonsense", {})), (expert("a"),), max_steps=7)
    ended = await world.start()
    assert ended.outcome.ending == "limit"
    assert len(world.model.requests) == 7


async def test_row_l9_a_model_that_declares_itself_done_and_says_nothing_uses_up_its_retries(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, lambda _, __: done(), (expert("a"),), max_retries=3)
    ended = await world.start()
    assert ended.outcome.ending == "failed"
    assert ended.outcome.error is not None
    assert ended.outcome.error.message == "No tool call or text generated"
    assert len(world.model.requests) < 12

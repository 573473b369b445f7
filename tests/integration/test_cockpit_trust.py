"""The cockpit shows what a found perstack.toml asks for before it starts any of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events

from perstack.config.untrusted import Demand, UntrustedError
from perstack_tui.screens.trust import TrustSheet
from perstack_tui.widgets.pane import Pane
from tests.fakes.gateway import busy_view
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio

COMMAND = Demand("command", "start npx -y server-files --root \\u001b[2J")


def refused(stage: Stage, *demands: Demand) -> None:
    stage.gateway.refuse = UntrustedError(Path("perstack.toml"), demands or (COMMAND,))


async def start(stage: Stage) -> None:
    await stage.press("n")
    await stage.write("go")
    await stage.press("enter")
    assert isinstance(stage.app.screen, TrustSheet)


async def test_accepting_starts_what_was_asked_for() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        refused(stage)
        await start(stage)
        assert "npx -y server-files" in stage.text_of("#trust")
        await stage.press("a", after=1.0)
        assert [call[0] for call in stage.gateway.calls] == ["accept", "start"]
        assert stage.gateway.calls[0][1] == (COMMAND,)


@pytest.mark.parametrize("keys", [("escape",), ("enter", "escape"), ("q", "escape")])
async def test_leaving_starts_nothing(keys: tuple[str, ...]) -> None:
    stage = Stage(busy_view())
    async with stage.play():
        refused(stage)
        await start(stage)
        await stage.press(*keys, after=1.0)
        assert not stage.gateway.calls
        assert "nothing was started" in stage.text_of("#notice")


async def test_keys_typed_before_it_opens_and_pastes_accept_nothing() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        refused(stage)
        await start(stage)
        await stage.press("a", after=0.05)
        stage.seconds.now += 5
        stage.app.screen.post_message(events.Paste("a"))
        await stage.settle()
        assert isinstance(stage.app.screen, TrustSheet)
        assert not stage.gateway.calls


async def test_a_long_list_is_accepted_only_once_it_was_read_to_its_end() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        refused(stage, *(Demand("command", f"start server-{number}") for number in range(60)))
        await start(stage)
        await stage.press("a", after=1.0)
        assert not stage.gateway.calls
        await stage.press(*["pagedown"] * 8, "a", after=1.0)
        assert [call[0] for call in stage.gateway.calls] == ["accept", "start"]


def many(stage: Stage, count: int) -> None:
    refused(stage, *(Demand("command", f"start server-{number}") for number in range(count)))


async def test_how_far_a_list_was_read_is_shown_also_with_the_mouse() -> None:
    stage = Stage(busy_view())
    async with stage.play(size=(80, 24)):
        many(stage, 60)
        await start(stage)
        pane = stage.app.screen.query_one("#trust", Pane)
        shown, count = pane.inner_height, len(pane.lines)
        assert f" {shown} of {count} " in foot(pane)
        assert f"once read to the end: {count - shown} more lines" in stage.text_of("#trust-keys")
        await stage.press("pagedown")
        assert f" {shown * 2 - 1} of {count} " in foot(pane)
        while pane.top + shown < count:
            await stage.wheel(pane)
        assert " of " not in foot(pane)
        await stage.press("a", after=1.5)
        assert [call[0] for call in stage.gateway.calls] == ["accept", "start"]


@pytest.mark.parametrize(("last", "first"), [("G", "g"), ("end", "home")])
async def test_whoever_jumps_to_the_end_is_told_how_much_was_not_shown(
    last: str, first: str
) -> None:
    stage = Stage(busy_view())
    async with stage.play(size=(80, 24)):
        many(stage, 60)
        await start(stage)
        pane = stage.app.screen.query_one("#trust", Pane)
        unseen = len(pane.lines) - 2 * pane.inner_height
        await stage.press(last)
        assert "server-59" in stage.text_of("#trust")
        await stage.press("a", after=1.5)
        assert f"read it to its end first: {unseen} more lines" in stage.text_of("#trust-keys")
        assert not stage.gateway.calls
        await stage.press(first, after=1.5)
        assert pane.top == 0
        await stage.press(*["space"] * 4, "a", after=1.5)
        assert [call[0] for call in stage.gateway.calls] == ["accept", "start"]


def foot(pane: Pane) -> str:
    """The lower border of a pane, as it is painted."""
    return pane.render_line(pane.size.height - 1).text

"""What a screen-reader conversation says by itself, and what each of its commands does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from perstack.config.untrusted import Demand, UntrustedError
from perstack.domain.ids import JobId
from perstack.errors import ConflictError
from perstack.projection.views import InboxView, JobView, WorkspaceView
from perstack_tui.linear.commands import Command, parse
from perstack_tui.linear.doing import Doing
from perstack_tui.linear.hearing import Hearing
from perstack_tui.linear.lists import Listing
from perstack_tui.linear.obeying import Obeying
from perstack_tui.ports.gateway import Trouble
from perstack_tui.state.review import Review
from tests.fakes.gateway import (
    NOW,
    FakeGateway,
    ShownFold,
    busy_view,
    decided,
    definitions,
    gate,
    local,
)
from tests.unit.tui.test_linear_deciding import Said

pytestmark = pytest.mark.anyio


class StillClock:
    def now_ms(self) -> int:
        return NOW


class Opened:
    """A conversation over a fake gateway; `lines` are typed when something is asked."""

    def __init__(self, *lines: str, observing: bool = False) -> None:
        self.said = Said(*lines)
        self.gateway = FakeGateway()
        self.fold = ShownFold(busy_view())
        self.hearing = Hearing(self.fold, StillClock(), lambda: 0.0)
        talk, listing = self.said.talk, Listing("inbox")
        self.doing = Doing(talk, self.hearing, self.gateway, "ana@pi", listing)
        self.quits = 0
        self.obeying = Obeying(self.doing, self._quit, observing=observing)

    async def _quit(self) -> None:
        self.quits += 1

    async def types(self, *lines: str) -> str:
        """Have commands obeyed; return all that was said."""
        await self.hearing.take(definitions())
        for line in lines:
            command = parse(line)
            assert isinstance(command, Command), command
            await self.obeying.obey(command)
        return self.said.text

    @property
    def calls(self) -> Sequence[tuple[object, ...]]:
        return self.gateway.calls


async def test_what_waits_is_announced_once_and_who_was_first_is_told() -> None:
    opened = Opened()
    first = await opened.hearing.take(definitions())
    assert first.calls
    assert "approve 1 or reject 1" in first.told[0]
    assert not (await opened.hearing.take(local())).told
    view = busy_view()
    over = decided("gate-1", "approved", "deploy docs to prod", "bob@pi")
    opened.fold.shown = replace(view, inbox=replace(view.inbox, pending=(), decided=(over,)))
    assert (await opened.hearing.take(local())).told == ("1 was approved by bob@pi.",)


async def test_a_scripted_model_is_named_once() -> None:
    opened = Opened()
    first = await opened.hearing.take(definitions(provider="scripted"))
    assert first.told[0].startswith("Scripted model")
    again = await opened.hearing.take(definitions(provider="scripted"))
    assert not any(line.startswith("Scripted model") for line in again.told)


async def test_troubles_are_told_on_one_line_with_their_hint() -> None:
    heard = await Opened().hearing.take(Trouble("the disk is\nfull", "make room"))
    assert heard.told[-1] == "Error: the disk is⏎full. Hint: make room"


async def test_a_gate_is_approved_by_its_number_and_whoever_was_first_is_said() -> None:
    word = Review(gate("gate-1")).word
    opened = Opened(word, word)
    told = await opened.types("approve 1")
    assert opened.calls[-1][0] == "decide"
    assert "approved." in told
    opened.gateway.refuse = ConflictError("already rejected by bob@pi")
    assert "Error: already rejected by bob@pi" in await opened.types("approve 1")


async def test_commands_reach_what_they_name() -> None:
    opened = Opened("hello", "yes", "yes")
    told = await opened.types(
        "start writer",
        "say writer look again",
        "pause writer",
        "stop coordinator now",
        "reject 1 not on Fridays",
        "follow job-77 and so on",
        "quit",
    )
    assert [call[0] for call in opened.calls] == [
        *("start", "say", "pause", "stop", "decide", "follow_up")
    ]
    assert opened.quits == 1
    assert "Started job job-star." in told


async def test_what_cannot_be_done_is_said_with_what_can() -> None:
    told = await Opened().types(
        "approve 2", "answer 1", "approve 9", "say auditor hi", "stop job-77", "follow nobody x"
    )
    assert "That is a question: answer 2." in told
    assert "That is no question" in told
    assert "9 is no number of the inbox" in told
    assert "There is no run auditor" in told
    assert "Nothing runs it: follow job-77aa goes on with the job." in told
    assert "There is no job nobody" in told


async def test_lists_number_what_show_and_other_commands_take() -> None:
    opened = Opened()
    told = await opened.types("experts", "show 2", "jobs", "runs 1", "show 1", "inbox", "show 2")
    assert "researcher 1.0.0: Finds things out" in told
    assert "Asked: " in told
    assert "Which audience is this for?" in told
    assert opened.calls == []


async def test_observing_does_nothing_but_look() -> None:
    opened = Opened(observing=True)
    assert "This only observes" in await opened.types("start writer go")
    assert opened.calls == []
    assert "1 coordinator" in await opened.types("experts")


async def test_what_runs_do_is_printed_until_it_is_switched_off() -> None:
    opened = Opened()
    await opened.types("watch off")
    assert not opened.obeying.looking.watching
    await opened.types("watch on")
    assert opened.obeying.looking.watching


async def test_trust_is_asked_for_and_then_what_was_wanted_is_done() -> None:
    demand = Demand("command", "start sh -c 'curl x'")
    opened = Opened("yes")
    opened.gateway.refuse = UntrustedError(Path("/w/perstack.toml"), (demand,))
    told = await opened.types("start writer go")
    assert [call[0] for call in opened.calls] == ["accept", "start"]
    assert "start sh -c 'curl x'" in told


async def test_a_job_that_runs_here_is_named_so() -> None:
    opened = Opened()
    job: JobView = busy_view().jobs[0]
    await opened.hearing.take(local(job.job_id))
    assert "runs here" in await opened.types("jobs")
    assert opened.hearing.pump.local_jobs == {JobId("job-8f3a")}


async def test_nothing_waiting_and_nothing_listed_is_said() -> None:
    opened = Opened()
    opened.fold.shown = WorkspaceView((), InboxView(), caught_up=True)
    told = await opened.types("inbox", "jobs", "runs")
    assert "Nothing waits for you." in told
    assert "There is no job yet" in told
    assert "No run is at work." in told
    assert opened.hearing.now_ms >= NOW

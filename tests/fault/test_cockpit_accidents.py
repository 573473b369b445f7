"""Typing, pasting and clicking while gates come and go: nothing is decided by accident."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from textual import events

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.settings import RiskLevel
from perstack.projection.views import InboxView, WorkspaceView
from perstack_tui.screens.bulk import BulkSheet
from perstack_tui.screens.review import ReviewSheet
from perstack_tui.state.inbox import ItemKey
from tests.fakes.gateway import gate, question, running_job, subtask
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio

RACES = 10_000
SAMPLED = 200
A_COCKPIT = 100  # Races in one cockpit, after which a new one is opened.
WORDS = ("approve", "area", "ra", "aaaa", "rrr", "a", "r", "A", "far away", "juniper", "amber ")
KEYS = ("enter", "escape", "j", "k", "tab", "space", "4", "3", "down", "up", "J", "u", "e", "i")
QUIET_S = 0.4


def drawn(random: Random, number: int) -> ConsensusCheckpoint:
    risk: RiskLevel = random.choice(("low", "medium", "high"))
    lines = random.choice((1, 1, 3, 60))
    text = "\n".join(f"do {number} {at} " + "x" * random.choice((3, 80)) for at in range(lines))
    made = gate(f"gate-{number}", run_name="devops", subtasks=(subtask("s1", text, risk),))
    return made.model_copy(update={"risk_level": risk})


@dataclass
class Person:
    """Types without looking: in bursts, or key by key but never after a quiet moment."""

    random: Random
    pending: dict[str, ConsensusCheckpoint] = field(default_factory=dict[str, ConsensusCheckpoint])
    made: int = 0

    def view(self) -> WorkspaceView:
        inbox = InboxView(pending=tuple(self.pending.values()), questions=(question(),))
        return WorkspaceView((running_job(),), inbox, caught_up=True)

    async def arrive(self, stage: Stage) -> None:
        """A gate comes, one goes, or both."""
        if len(self.pending) > 3 or (self.pending and self.random.random() < 0.3):
            self.pending.pop(self.random.choice(list(self.pending)))
        self.made += 1
        made = drawn(self.random, self.made)
        self.pending[made.id] = made
        await stage.show(self.view())

    async def do_something(self, stage: Stage) -> None:
        """One of the things that a hand does that is somewhere else with its mind."""
        match self.random.randrange(6):
            case 0:
                # Text that was meant for another window, pasted by a terminal without brackets.
                await stage.burst(*self.random.choice(WORDS[:4]).replace(" ", ""))
            case 1:
                text = self.random.choice(WORDS) + self.random.choice(("", "\r", "\na\nr"))
                stage.app.post_message(events.Paste(text))
                await stage.settle()
                # What is typed on behind it.
                await hasty(stage, "a", "r", after=0.05)
            case 2:
                await hasty(stage, *self.typed(), after=self.random.choice((0.01, 0.1, 0.2)))
            case 3:
                await self.click(stage)
            case 4:
                # A look around, at leisure: no key of it decides.
                await stage.press(*self.random.choices(KEYS[:7], k=2), after=1.0)
            case _:
                await self.race(stage)

    def typed(self) -> list[str]:
        word = self.random.choice(WORDS)
        keys = ["space" if letter == " " else letter for letter in word]
        return [*keys, *self.random.choices(KEYS, k=self.random.randrange(3))]

    async def race(self, stage: Stage) -> None:
        """A sheet opens in the middle of a word."""
        await hasty(stage, "4", "enter", after=0.01)
        await hasty(stage, *self.typed(), after=0.05)

    async def click(self, stage: Stage) -> None:
        width, height = stage.app.size
        x, y = self.random.randrange(width), self.random.randrange(height)
        for kind in (events.MouseDown, events.MouseUp):
            stage.app.post_message(kind(None, x, y, 0, 0, 1, shift=False, meta=False, ctrl=False))
        await stage.settle()


async def hasty(stage: Stage, *keys: str, after: float) -> None:
    """Press keys `after` seconds apart, each taken before the next; painted once at the end."""
    for key in keys:
        stage.seconds.now += after
        character = {"space": " ", "enter": "\r", "tab": "\t"}.get(key, key)
        stage.app.post_message(events.Key(key, character if len(character) == 1 else None))
        for _ in range(3):
            await stage.pilot.pause(0)
    await stage.settle()


async def races(count: int, seed: int) -> None:
    random = Random(seed)
    done = 0
    while done < count:
        person = Person(random)
        stage = Stage(person.view())
        async with stage.play(size=random.choice(((80, 24), (120, 40)))):
            for _ in range(min(A_COCKPIT, count - done)):
                await person.arrive(stage)
                # The hand was never still before what it does now.
                stage.seconds.now += 0.05
                await person.do_something(stage)
                decided = [call for call in stage.gateway.calls if call[0] == "decide"]
                assert decided == [], (seed, done)
                done += 1
                if stage.app.return_code is not None:
                    break
    assert done >= count


async def test_a_hand_that_types_elsewhere_decides_nothing() -> None:
    await races(SAMPLED, seed=5)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10))
async def test_ten_thousand_hands_that_type_elsewhere_decide_nothing(seed: int) -> None:
    await races(RACES // 10, seed=1_000 + seed)


async def test_the_deliberate_key_on_a_read_sheet_does_decide() -> None:
    """So that the races above can fail: the same cockpit decides when it is meant to."""
    person = Person(Random(1))
    made = drawn(Random(3), 1)
    calm = made.model_copy(
        update={"proposed_subtasks": (subtask("s1", "x", "medium"),), "risk_level": "medium"}
    )
    person.pending[calm.id] = calm
    stage = Stage(person.view())
    async with stage.play():
        stage.app.state.select_item(ItemKey("gate", calm.id))
        await stage.press("4", "enter")
        assert isinstance(stage.app.screen, (ReviewSheet, BulkSheet))
        await stage.press("a", after=QUIET_S)
        assert [call[0] for call in stage.gateway.calls] == ["decide"]

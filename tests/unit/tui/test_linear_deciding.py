"""Deciding and answering in lines: all is read out, then a word that was not typed ahead."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import replace

import pytest

from perstack.config.untrusted import Demand
from perstack_tui.linear.answering import NOTHING_SENT, answers, form_answer
from perstack_tui.linear.deciding import NOTHING, Reviewer, accepts, approval, rejection
from perstack_tui.linear.keyboard import Typed
from perstack_tui.linear.paper import Paper
from perstack_tui.linear.talk import MORE, Talk
from perstack_tui.state.review import Review
from tests.fakes.consensus import make_question
from tests.fakes.gateway import NOW, gate, question, subtask

pytestmark = pytest.mark.anyio

WHO = Reviewer("ana@pi", NOW)


class Typist:
    """Types the lines it was given, each after as many seconds; then nothing more comes."""

    def __init__(self, *lines: str | Typed) -> None:
        self._lines = deque(one if isinstance(one, Typed) else Typed(one, 2.0) for one in lines)
        self.prompts: list[str] = []
        self.all_afresh = True

    async def line(self, prompt: str, *, afresh: bool = False) -> Typed:
        self.prompts.append(prompt)
        self.all_afresh = self.all_afresh and afresh
        return self._lines.popleft() if self._lines else Typed(None, 2.0)


class Said:
    """A conversation with a typist, and all that was said in it."""

    def __init__(self, *lines: str | Typed, rows: int = 24) -> None:
        self._written: list[str] = []
        self.typist = Typist(*lines)
        self.talk = Talk(Paper(self._written.append), self.typist)
        self.talk.size = lambda: (80, rows)

    @property
    def text(self) -> str:
        assert self.talk.paper.settle(10)
        return "".join(self._written)


LOW = gate(
    "g1", risk="low", subtasks=(subtask("s1", "tidy up", "low"), subtask("s2", "sweep", "low"))
)
HIGH = gate("g2", subtasks=(subtask("s1", "deploy docs to prod", "high"),))


async def test_all_is_read_out_and_yes_approves() -> None:
    said = Said("yes")
    decision = await approval(said.talk, LOW, WHO, "")
    assert decision is not None
    assert decision.approved
    assert decision.reviewed_by == "ana@pi"
    assert decision.rejected_subtask_ids == ()
    assert said.typist.all_afresh
    for part in ("Subtask s1, risk low:", "tidy up", "sweep", "2 subtasks would run."):
        assert part in said.text


@pytest.mark.parametrize("typed", ["", "y", "no", "approve 1", "yes please"])
async def test_anything_but_yes_decides_nothing(typed: str) -> None:
    said = Said(typed)
    assert await approval(said.talk, LOW, WHO, "") is None
    assert NOTHING in said.text


async def test_what_is_high_wants_its_own_word() -> None:
    assert await approval(Said("yes").talk, HIGH, WHO, "") is None
    said = Said(Review(HIGH).word)
    decision = await approval(said.talk, HIGH, WHO, "")
    assert decision is not None
    assert f"Type {Review(HIGH).word} to approve" in said.typist.prompts[-1]


async def test_what_was_typed_ahead_never_decides() -> None:
    early = Typed("yes", 0.1)
    said = Said(early, early, early)
    assert await approval(said.talk, LOW, WHO, "") is None
    assert "does not count" in said.text
    assert await approval(Said(early, "yes").talk, LOW, WHO, "") is not None


async def test_pages_are_read_before_enter_counts_and_too_soon_is_not_the_end() -> None:
    early, page = Typed("", 0.1), [f"line {n}" for n in range(30)]
    held_down = Said(early, early, early, "", rows=24)
    assert not await held_down.talk.read_lines(page)
    assert "line 29" not in held_down.text
    assert not held_down.talk.ended
    assert await Said(early, "", rows=24).talk.read_lines(page)
    over = Said()
    assert await over.talk.ask("stay? ") is None
    assert over.talk.ended


async def test_what_was_not_read_to_its_end_cannot_be_approved() -> None:
    long = gate(
        "g3",
        risk="low",
        subtasks=(subtask("s1", "\n".join(f"line {n}" for n in range(60)), "low"),),
    )
    left = Said("q", "yes", rows=12)
    assert await approval(left.talk, long, WHO, "") is None
    assert left.typist.prompts == [MORE]
    assert "line 59" not in left.text
    read = Said("", "", "", "", "", "", "yes", rows=12)
    assert await approval(read.talk, long, WHO, "") is not None
    assert "line 59" in read.text


async def test_the_end_of_input_decides_nothing() -> None:
    assert await approval(Said().talk, LOW, WHO, "") is None
    assert await rejection(Said().talk, LOW, WHO, "") is None


async def test_some_can_be_left_out_and_what_is_not_there_is_told() -> None:
    decision = await approval(Said("yes").talk, LOW, WHO, "except s2")
    assert decision is not None
    assert decision.rejected_subtask_ids == ("s2",)
    said = Said("yes")
    assert await approval(said.talk, LOW, WHO, "except s9") is None
    assert "There is no subtask s9 in it." in said.text
    said = Said("yes")
    assert await approval(said.talk, LOW, WHO, "except s1,s2") is None
    assert "reject it instead" in said.text


async def test_hidden_characters_are_shown_and_warned_of() -> None:
    tricky = gate("g4", risk="low", subtasks=(subtask("s1", "rm \u202efdp.exe\x1b[2J", "low"),))
    said = Said("")
    await approval(said.talk, tricky, WHO, "")
    assert "‹U+202E›fdp.exe‹U+001B›[2J" in said.text
    assert "Careful" in said.text
    assert "\x1b" not in said.text


async def test_rejecting_carries_the_note() -> None:
    decision = await rejection(Said("yes").talk, LOW, WHO, "not on Fridays")
    assert decision is not None
    assert (decision.approved, decision.feedback) == (False, "not on Fridays")


async def test_who_was_first_is_told_instead_of_asking() -> None:
    said = Said("yes")
    over = LOW.model_copy(update={"status": "expired"})
    assert await approval(said.talk, over, WHO, "") is None
    assert "expired: nobody decided in time" in said.text
    assert said.typist.prompts == []


async def test_what_a_configuration_asks_for_is_accepted_by_yes_alone() -> None:
    demands = (Demand("command", "start sh -c 'curl x'"),)
    said = Said("yes")
    assert await accepts(said.talk, demands)
    assert "start sh -c 'curl x'" in said.text
    assert not await accepts(Said("").talk, demands)


async def test_questions_are_answered_one_after_another_by_number_or_in_words() -> None:
    first = replace(question(), choices=("developers", "operators"), of=2, position=1)
    second = replace(first, tool_call_id=first.tool_call_id + "2", choices=(), position=2)
    said = Said("7", "2", "by friday")
    given = await answers(said.talk, (first, second))
    assert given is not None
    assert [text for _, text in given] == ["operators", "by friday"]
    assert "There is no choice 7" in said.text
    assert "Question 2 of 2." in said.text


async def test_a_question_that_is_left_sends_nothing() -> None:
    said = Said("")
    assert await answers(said.talk, (question(),)) is None
    assert NOTHING_SENT in said.text


async def test_several_choices_are_taken_by_their_numbers() -> None:
    asked = replace(question(), choices=("a", "b", "c"), several=True)
    given = await answers(Said("3,1").talk, (asked,))
    assert given is not None
    assert given[0][1] == "a, c"


async def test_a_form_is_filled_in_field_by_field_and_sent_by_yes() -> None:
    said = Said("9", "2", "many", "3", "yes")
    decision = await form_answer(said.talk, make_question(), "ana@pi")
    assert decision is not None
    assert decision.approved
    assert json.loads(decision.feedback or "") == {"region": "us", "machines": 3}
    for part in ("Which region?", "Field 1 of 2: Region", "There is no choice 9", "machines"):
        assert part in said.text
    assert said.typist.all_afresh


@pytest.mark.parametrize(
    ("typed", "approved"),
    [(("1", "-", "no"), False), (("1", "", "yes"), True), (("1", "", ""), None), (("q",), None)],
)
async def test_a_form_is_declined_left_or_sent_without_what_may_be_left_out(
    typed: tuple[str, ...], approved: bool | None
) -> None:
    decision = await form_answer(Said(*typed).talk, make_question(), "ana@pi")
    assert (decision.approved if decision else None) == approved


async def test_a_field_that_is_wanted_is_asked_for_until_it_is_there() -> None:
    said = Said("", "-", "1", "", "yes")
    decision = await form_answer(said.talk, make_question(), "ana@pi")
    assert decision is not None
    assert "Region: an answer is wanted" in said.text

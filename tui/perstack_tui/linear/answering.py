"""Answering what an Expert or a tool server asks: by number or in words, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from perstack.projection.views import QuestionView
from perstack_tui.linear.lists import number_of
from perstack_tui.linear.talk import Talk
from perstack_tui.state.answer import Answering
from perstack_tui.state.form import Form, asked_text
from perstack_tui.text import flat

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint, Decision
    from perstack.domain.inputs import InputField

NOTHING_SENT: Final = "Nothing was sent."
LEAVES_OUT: Final = "-"
_MEANT: Final = "#"


async def answers(
    talk: Talk, questions: tuple[QuestionView, ...]
) -> list[tuple[QuestionView, str]] | None:
    """Ask the questions of one run; return each with its answer, None when one was left."""
    answering = Answering(questions)
    while True:
        asked = answering.question
        which = f" Question {answering.at + 1} of {len(questions)}." if len(questions) > 1 else ""
        talk.say(f"{flat(asked.expert_key)} asks.{which}")
        text = await _answer_to(talk, asked, answering)
        if text is None:
            talk.say(NOTHING_SENT)
            return None
        talk.say(f"Your answer: {flat(text)}")
        if answering.take(text):
            return answering.given()


async def _answer_to(talk: Talk, asked: QuestionView, answering: Answering) -> str | None:
    if not await talk.read_out(asked.text):
        return None
    if not await talk.read_lines(_choices(asked.choices)):
        return None
    while True:
        text = await talk.ask(_prompt(len(asked.choices), several=asked.several))
        if not text:
            return None
        numbers = chosen_numbers(text, asked.choices, several=asked.several)
        if isinstance(numbers, str):
            talk.say(numbers)
        elif numbers is None:
            return text
        else:
            chosen = ""
            for number in numbers:
                chosen = answering.chosen(chosen, number - 1)
            return chosen


def _choices(choices: Sequence[str]) -> list[str]:
    return [f"{number} {flat(choice)}" for number, choice in enumerate(choices, 1)]


def _prompt(choices: int, *, several: bool) -> str:
    if not choices:
        return "Your answer, or Enter to leave it: "
    numbers = "Numbers with commas, or text" if several else "A number, or text"
    return f"{numbers}, or Enter to leave it: "


def chosen_numbers(text: str, choices: Sequence[str], *, several: bool) -> list[int] | str | None:
    """Return the numbers, from 1, that `text` chooses; None for plain text; or what is wrong.

    Where a choice is itself a number, `#2` is the second one and `2` is asked about.
    """
    parts = [part.strip() for part in text.split(",")] if several else [text.strip()]
    numbers = [number_of(part.removeprefix(_MEANT)) for part in parts]
    if not choices or any(number is None for number in numbers):
        return None
    found = [number for number in numbers if number is not None]
    for part, number in zip(parts, found, strict=True):
        if not 1 <= number <= len(choices):
            return f"There is no choice {number}: there are {len(choices)}."
        if part in choices and choices[number - 1] != part:
            other, meant = choices.index(part) + 1, flat(choices[number - 1])
            return (
                f"{part} is a choice itself, number {other}."
                f" Type {_MEANT}{other} for it, or {_MEANT}{number} for {meant}."
            )
    return list(dict.fromkeys(found))


# ------------------------------------------------------------------ forms


async def form_answer(talk: Talk, gate: ConsensusCheckpoint, reviewer: str) -> Decision | None:
    """Ask a tool server's form field by field; return the decision, None when it was left."""
    form = Form(gate)
    if (closed := form.why_closed()) is not None:
        talk.say(closed)
        return None
    asked = gate.input_request
    skill = f" of skill {flat(asked.skill_name)}" if asked else ""
    talk.say(f"Asked by the tool server{skill}, for {flat(gate.expert_key)}:")
    if not await talk.read_out(asked_text(gate)):
        return None
    for at, each in enumerate(form.fields):
        form.at = at
        if not await _ask_field(talk, form, each):
            talk.say(NOTHING_SENT)
            return None
    answer = await talk.ask("Type yes to send, no to decline to answer, or Enter to leave it: ")
    if answer == "no":
        return form.refusal(reviewer)
    if answer != "yes":
        talk.say(NOTHING_SENT)
        return None
    try:
        return form.acceptance(reviewer)
    except ValueError as error:
        talk.say(flat(str(error)), NOTHING_SENT)
        return None


async def _ask_field(talk: Talk, form: Form, each: InputField) -> bool:
    """Ask one field until what is typed fits; say whether it was answered."""
    wanted = f", {each.wanted}" if each.wanted else ""
    which = f"{form.at + 1} of {len(form.fields)}"
    need = "" if each.required else ", may be left out"
    talk.say(f"Field {which}: {flat(each.title)}{wanted}{need}.")
    if each.description and not await talk.read_out(each.description):
        return False
    if not await talk.read_lines(_choices(form.choices)):
        return False
    keeps = f"Enter takes {flat(each.default)}" if each.default else "Enter leaves it empty"
    while True:
        text = await talk.ask(f"{keeps}, {LEAVES_OUT} leaves it out, q leaves the form: ")
        if text is None or text == "q":
            return False
        numbers = chosen_numbers(text, form.choices, several=each.several)
        if isinstance(numbers, str):
            talk.say(numbers)
            continue
        if (fault := form.take(_typed(form, each, text, numbers))) is None:
            return True
        talk.say(fault)


def _typed(form: Form, each: InputField, text: str, numbers: list[int] | None) -> str:
    if numbers is not None:
        return ", ".join(form.choices[number - 1] for number in numbers)
    if text == LEAVES_OUT:
        return ""
    return text or each.default

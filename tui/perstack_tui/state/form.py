"""A tool server's question as the screen asks it: one field after another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from perstack.domain.inputs import InputField, fields_of, form_lines
from perstack.projection.inert import has_hidden
from perstack_tui.state.lines import BLANK, Line, line, note
from perstack_tui.state.wording import outcome_of
from perstack_tui.text import flat, wrap

if TYPE_CHECKING:
    from pydantic import JsonValue

    from perstack.domain.consensus import ConsensusCheckpoint, Decision

YES_OR_NO: Final = ("yes", "no")


def asked_text(gate: ConsensusCheckpoint) -> str:
    """Return what the server asks, without the fields, which follow it for readers."""
    text = gate.proposed_subtasks[0].input if gate.proposed_subtasks else ""
    fields = form_lines(gate.form or {})
    return text.removesuffix("\n\n" + "\n".join(fields)) if fields else text


@dataclass(slots=True)
class Form:
    """The sheet's state. `texts` is what was typed for each field, by its name."""

    gate: ConsensusCheckpoint
    texts: dict[str, str] = field(default_factory=dict[str, str])
    at: int = 0

    @property
    def fields(self) -> tuple[InputField, ...]:
        """The fields, in the server's order."""
        return fields_of(self.gate.form or {})

    @property
    def field(self) -> InputField | None:
        """The field at hand, None for a question that only wants agreement."""
        return self.fields[self.at] if self.at < len(self.fields) else None

    @property
    def choices(self) -> tuple[str, ...]:
        """What the field at hand can be chosen from, as it is shown; empty for free text."""
        asked = self.field
        if asked is None:
            return ()
        return YES_OR_NO if asked.kind == "boolean" else asked.labels

    @property
    def takes_several(self) -> bool:
        """Whether several of the choices of the field at hand may be chosen."""
        return self.field is not None and self.field.several

    def choose(self, choice: str) -> str:
        """Take a choice, or leave it again where several can be taken; return the field's text."""
        asked = self.field
        if asked is None or not asked.several:
            return choice
        chosen = _chosen(asked, self.draft())
        left = [label for label in chosen if label != choice]
        text = ", ".join(left if choice in chosen else [*chosen, choice])
        self.texts[asked.name] = text
        return text

    @property
    def is_last(self) -> bool:
        """Whether nothing comes after the field at hand."""
        return self.at + 1 >= len(self.fields)

    def draft(self) -> str:
        """Return what stands in the field at hand: what was typed, else what is suggested."""
        asked = self.field
        return "" if asked is None else self.texts.get(asked.name, asked.default)

    def take(self, text: str) -> str | None:
        """Keep `text` for the field at hand; return what is wrong with it, None if nothing is."""
        asked = self.field
        if asked is None:
            return None
        self.texts[asked.name] = text
        return _fault(asked, text)

    def move(self, by: int) -> None:
        """Go to the field `by` fields away, as far as there are any."""
        self.at = max(0, min(len(self.fields) - 1, self.at + by))

    def why_closed(self) -> str | None:
        """Return why it cannot be answered any more."""
        if self.gate.status == "pending":
            return None
        return f"this question is no longer open: {outcome_of(self.gate)[1]}"

    def acceptance(self, reviewer: str) -> Decision:
        """Return the decision that carries the answer.

        Raises:
            ValueError: a field is wrong; it is the one at hand afterwards.
        """
        from perstack.domain.consensus import Decision

        answer = json.dumps(self._answer(), ensure_ascii=False)
        return Decision(approved=True, feedback=answer, reviewed_by=reviewer)

    def refusal(self, reviewer: str) -> Decision:
        """Return the decision to answer nothing."""
        from perstack.domain.consensus import Decision

        return Decision(approved=False, reviewed_by=reviewer)

    def _answer(self) -> Mapping[str, JsonValue]:
        answer: dict[str, JsonValue] = {}
        for at, asked in enumerate(self.fields):
            text = self.texts.get(asked.name, asked.default)
            if (fault := _fault(asked, text)) is not None:
                self.at = at
                raise ValueError(fault)
            if text or (asked.several and asked.required):
                answer[asked.name] = asked.value_of(text)
        return answer


def _fault(asked: InputField, text: str) -> str | None:
    if not text and not (asked.several and asked.required):
        return f"{flat(asked.title)}: an answer is wanted" if asked.required else None
    try:
        asked.value_of(text)
    except ValueError as error:
        return f"{flat(asked.title)}: {flat(str(error))}"
    return None


def _chosen(asked: InputField, text: str) -> list[str]:
    """Return the labels of what `text` names; as many as there are, since more may follow."""
    try:
        values = replace(asked, at_least=0, at_most=None).chosen(text)
    except ValueError:
        return []
    return [asked.labels[asked.choices.index(value)] for value in values]


def form_pane_lines(form: Form, width: int) -> list[Line]:
    """Return the question whole, then each field with what it holds, the one at hand open."""
    asked = form.gate.input_request
    origin = f"asked by the tool server of skill {flat(asked.skill_name)}" if asked else ""
    lines = [line((text, "strong")) for text in wrap(asked_text(form.gate), width)]
    lines += [note(origin), BLANK]
    for at, each in enumerate(form.fields):
        if at == form.at:
            lines += _open_field(form, each, width)
        else:
            lines.append(_closed_field(each, form.texts.get(each.name, "")))
    text = form.gate.proposed_subtasks[0].input if form.gate.proposed_subtasks else ""
    if has_hidden(text):
        warning = "! hidden or direction-changing characters are shown as ‹U+….›"
        lines += [BLANK, line((warning, "fail"))]
    return lines


def _closed_field(each: InputField, text: str) -> Line:
    shown = (f"  {flat(each.title)}  ", "muted")
    return line(shown, (flat(text), "text")) if text else line(shown)


def _open_field(form: Form, each: InputField, width: int) -> list[Line]:
    wanted = each.wanted if each.required else f"{each.wanted}, may be left out".lstrip(", ")
    chosen = _chosen(each, form.draft()) if each.several else []
    lines = [line(("› ", "accent"), (flat(each.title), "strong"), (f"  {wanted}", "muted"))]
    lines += [note("    " + text) for text in wrap(each.description, width - 4) if text.strip()]
    for number, choice in enumerate(form.choices, 1):
        key = str(number) if number <= 9 else " "
        mark = "✓ " if choice in chosen else "  " if each.several else ""
        lines.append(line((f"    {key}  ", "accent"), (mark, "done"), (flat(choice), "text")))
    return lines

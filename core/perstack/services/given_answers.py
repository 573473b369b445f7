"""Reading what a person answers to a tool server's question."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from anyio import to_thread
from pydantic import JsonValue

from perstack.domain.consensus import ConsensusCheckpoint, Decision
from perstack.domain.ids import ConsensusId
from perstack.domain.inputs import fields_of, read_answer
from perstack.errors import UsageError


async def with_answer(
    show: Callable[[ConsensusId], Awaitable[ConsensusCheckpoint]],
    consensus_id: ConsensusId,
    decision: Decision,
) -> Decision:
    """Return the decision with its answer read and checked, where a question is answered.

    Raises:
        UsageError: it does not fit.
    """
    if not decision.approved:
        return decision
    asked = await show(consensus_id)
    if asked.form is None or asked.status != "pending":
        return decision
    # The validator takes a tenth of a second to load.
    content = await to_thread.run_sync(_read_given, asked, decision.feedback)
    return decision.model_copy(update={"feedback": json.dumps(content, ensure_ascii=False)})


def _read_given(asked: ConsensusCheckpoint, text: str | None) -> dict[str, JsonValue]:
    form = asked.form or {}
    if text is None and fields_of(form):
        raise UsageError("a question needs an answer", hint=_how_to_answer(asked))
    try:
        return read_answer(form, text or "")
    except ValueError as error:
        raise UsageError(f"the answer does not fit: {error}", hint=_how_to_answer(asked)) from error


def _how_to_answer(asked: ConsensusCheckpoint) -> str:
    return f"perstack consensus show {asked.id} says what is asked; answer {asked.id} ANSWER"

"""Single entries of a transcript: what a call shows, and how long a text may be."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pydantic import JsonValue

from perstack.domain.events import ResolveApproval, ToolRoute
from perstack.domain.expert import BASE_SKILL
from perstack.domain.messages import ToolCallPart
from perstack.projection.cutting import cut, one_line
from perstack.projection.gates import for_the_job
from perstack.projection.phrases import call_phrase, question_of
from perstack.projection.pretty import pretty_json
from perstack.projection.program_tools import (
    PATH_KEYS,
    change_in,
    is_of_program,
    paths_of,
    writes_files,
)
from perstack.projection.views import CallView, EntryView

ENTRY_CHARACTERS: Final = 20_000
TITLE_CHARACTERS: Final = 200
PATH_CHARACTERS: Final = 4096
_ENTRY_BYTES: Final = 600


def call_entry(call: ToolCallPart, route: ToolRoute | None, at: int) -> EntryView:
    """Return the entry of a call that was made at `at` (Unix ms) and goes where `route` says."""
    kind = route.kind if route else "unknown"
    if kind == "delegate":
        return EntryView(
            "delegate",
            call_phrase(call, TITLE_CHARACTERS),
            tool_call_id=call.tool_call_id,
            status="running",
            timestamp=at,
            call=CallView(call.tool_name),
        )
    if kind == "interactive":
        text, choices = question_of(call)
        listed = "\n".join(f"{number} {choice}" for number, choice in enumerate(choices, start=1))
        return EntryView(
            "question",
            one_line(text, TITLE_CHARACTERS),
            listed if len(text) <= TITLE_CHARACTERS else f"{text}\n{listed}",
            tool_call_id=call.tool_call_id,
            status="waiting",
            timestamp=at,
        )
    return EntryView(
        "tool",
        call_phrase(call, TITLE_CHARACTERS),
        tool_call_id=call.tool_call_id,
        status="running",
        timestamp=at,
        call=_called(call, route.skill_name if route else ""),
    )


def _called(call: ToolCallPart, skill_name: str) -> CallView:
    before, after = None, None
    args = dict(call.args)
    path = args.get("path")
    if is_of_program(skill_name) and writes_files(skill_name, call.tool_name):
        path = next(iter(paths_of(args)), None)
        before, after, args = change_in(call)
    elif skill_name == BASE_SKILL and isinstance(path, str):
        before, after = _taken(args, "oldText"), _taken(args, "newText")
        after = after if after is not None else _taken(args, "text")
    if after is not None and args.keys() <= PATH_KEYS:
        args = {}  # the title says it
    shown = call.invalid_args or (pretty_json(args) if args else "")
    return CallView(
        call.tool_name,
        skill_name,
        cut(shown, ENTRY_CHARACTERS),
        before,
        after,
        appends=call.tool_name == "appendTextFile",
        path=path if isinstance(path, str) and len(path) <= PATH_CHARACTERS else "",
    )


def _taken(args: dict[str, JsonValue], key: str) -> str | None:
    """Take a text out of a call's arguments."""
    value = args.get(key)
    if not isinstance(value, str):
        return None
    del args[key]
    return cut(value, ENTRY_CHARACTERS)


def outcome_words(body: ResolveApproval) -> str:
    """Return what was decided, by whom, and with which words."""
    partial = body.outcome == "approved" and body.rejected
    word = "partly approved" if partial else body.outcome
    by = f" by {body.decided_by}" if body.decided_by else ""
    feedback = f": {body.feedback}" if body.feedback else ""
    return f"{word}{by}{for_the_job(body)}{feedback}"


def weight_of(entry: EntryView) -> int:
    """Return about how many bytes an entry takes in memory, where its text is Latin."""
    call = entry.call
    told = (
        0
        if call is None
        else len(call.args) + len(call.before or "") + len(call.after or "") + len(call.path)
    )
    return len(entry.text) + len(entry.title) + told + _ENTRY_BYTES


def bounded(entry: EntryView) -> EntryView:
    """Return the entry with no text longer than `ENTRY_CHARACTERS`, and its size noted."""
    if not entry.size and entry.text:
        entry = replace(entry, size=len(entry.text))
    if len(entry.text) <= ENTRY_CHARACTERS and len(entry.title) <= ENTRY_CHARACTERS:
        return entry
    return replace(
        entry, title=cut(entry.title, ENTRY_CHARACTERS), text=cut(entry.text, ENTRY_CHARACTERS)
    )

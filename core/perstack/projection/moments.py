"""A run as it was at a checkpoint, as values to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from perstack.domain.messages import (
    ExpertMessage,
    InstructionMessage,
    Message,
    ResourceLinkPart,
    ResultPart,
    TextPart,
    ToolCallPart,
    ToolMessage,
    UserMessage,
    link_text,
)
from perstack.domain.snapshots import Manifest
from perstack.domain.travel import FileView, MessageView, Moment, MomentView
from perstack.projection.event_facts import written_paths
from perstack.projection.pretty import pretty_json
from perstack.projection.run_state import RunState

_NAMED: Final = 3


def moment_view(
    moment: Moment, state: RunState, timestamp: int, step_number: int, files: Manifest | None
) -> MomentView:
    """Return all that is known of a moment; `files` is None where no snapshot was taken."""
    return MomentView(
        moment=moment,
        step_number=step_number,
        timestamp=timestamp,
        messages=tuple(message_views(state.messages)),
        usage=state.usage,
        cost=state.cost,
        context=state.context_window_usage,
        files=None if files is None else tuple(file_views(files)),
    )


def file_views(files: Manifest) -> Iterator[FileView]:
    """Yield what a snapshot has, by path."""
    for path in sorted(files):
        entry = files[path]
        if entry.kind == "link" and entry.target is not None:
            yield FileView(path, entry.size, why=f"link to {entry.target}", as_such=entry.is_stored)
        elif entry.kind == "folder":
            yield FileView(f"{path}/", 0, why=entry.why or "empty folder", as_such=entry.is_stored)
        else:
            yield FileView(path, entry.size, entry.digest, entry.why)


def message_views(messages: Sequence[Message]) -> Iterator[MessageView]:
    """Yield messages in full, one for each result of a tool."""
    called: dict[str, ToolCallPart] = {}
    for message in messages:
        match message:
            case InstructionMessage():
                text = "\n".join(part.text for part in message.contents)
                yield MessageView(message.id, "instruction", "instruction", text)
            case UserMessage():
                yield MessageView(message.id, "user", "user", _said(message.contents))
            case ExpertMessage():
                called |= {call.tool_call_id: call for call in message.tool_calls}
                yield MessageView(message.id, "assistant", "assistant", _spoken(message))
            case ToolMessage():
                for part in message.contents:
                    call = called.get(part.tool_call_id)
                    named = written_paths(call)[:_NAMED] if call is not None else []
                    yield MessageView(
                        f"{message.id}:{part.tool_call_id}",
                        "tool",
                        " ".join([part.tool_name, *named]),
                        _said(part.contents),
                        is_error=bool(part.is_error),
                    )


def _spoken(message: ExpertMessage) -> str:
    parts = [message.text] if message.text else []
    for call in message.tool_calls:
        given = pretty_json(call.args)
        parts.append(f"{call.tool_name} {call.invalid_args or given}")
    return "\n\n".join(parts)


def _said(parts: Sequence[ResultPart]) -> str:
    return "\n".join(_part(part) for part in parts)


def _part(part: ResultPart) -> str:
    match part:
        case TextPart():
            return part.text
        case ResourceLinkPart():
            return link_text(part)
        case _:
            return f"[{part.mime_type}, {len(part.encoded_data) * 3 // 4:,} bytes]"

"""A message as lines: who said it, then all of what was said. Raw text: callers make it inert."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from perstack.domain.messages import (
    ExpertMessage,
    FileInlinePart,
    ImageInlinePart,
    InstructionMessage,
    Message,
    ProviderPart,
    ResourceLinkPart,
    ResultPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolMessage,
    UserMessage,
    link_text,
)

_INDENT: Final = "  "


def message_lines(message: Message) -> Iterator[str]:
    """Return the message's role and its parts, nothing cut off; bytes only by their number."""
    match message:
        case InstructionMessage():
            yield "instruction:"
            yield from _parts(message.contents)
        case UserMessage():
            yield "user:"
            yield from _parts(message.contents)
        case ExpertMessage():
            yield "expert:"
            for part in message.contents:
                yield from _expert_part(part)
        case ToolMessage():
            yield "tools:"
            for result in message.contents:
                glyph = "✗" if result.is_error else "✓"
                yield f"{_INDENT}{glyph} {result.tool_name} {result.tool_call_id}"
                yield from (_INDENT + line for line in _parts(result.contents))


def part_text(part: ResultPart) -> str:
    """Return what a reader sees of a part."""
    match part:
        case TextPart():
            return part.text
        case ResourceLinkPart():
            return link_text(part)
        case ImageInlinePart() | FileInlinePart():
            kind = "image" if isinstance(part, ImageInlinePart) else "file"
            return f"({kind}, {part.mime_type}, {len(part.encoded_data) * 3 // 4} bytes)"


def _parts(parts: tuple[ResultPart, ...]) -> Iterator[str]:
    for part in parts:
        yield from _indented(part_text(part))


def _expert_part(part: TextPart | ThinkingPart | ToolCallPart | ProviderPart) -> Iterator[str]:
    match part:
        case TextPart():
            yield from _indented(part.text)
        case ThinkingPart():
            yield f"{_INDENT}(thinking)"
            yield from (_INDENT + line for line in _indented(part.thinking))
        case ToolCallPart():
            args = part.invalid_args or json.dumps(part.args, ensure_ascii=False)
            yield from _indented(f"calls {part.tool_name} {part.tool_call_id}: {args}")
        case ProviderPart():
            yield f"{_INDENT}(a block of {part.provider})"


def _indented(text: str) -> Iterator[str]:
    return (_INDENT + line for line in text.splitlines())

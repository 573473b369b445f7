"""What a tool answered, as parts that can be stored and sent to a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)
from pydantic import JsonValue

from perstack.domain.messages import (
    FileInlinePart,
    ImageInlinePart,
    ResourceLinkPart,
    ResultPart,
    TextPart,
)
from perstack.ports.skills import ToolOutcome
from perstack.skills.text import MAX_TEXT_CHARS, cut, storable

MAX_ENCODED_CHARS: Final = 30_000_000
# A text that was cut already is longer than allowed by the mark that says so.
_MARK_CHARS: Final = 100
_SHOWN_ARGS_CHARS: Final = 500


def outcome_of(
    result: CallToolResult,
    *,
    tool: str,
    args: Mapping[str, JsonValue],
    clean: Callable[[str], str],
) -> ToolOutcome:
    """Return the result within bounds: so much text, so many bytes of pictures and files."""
    parts = [_part(block) for block in result.content]
    if not parts and result.structured_content is not None:
        parts = [TextPart(text=json.dumps(result.structured_content, ensure_ascii=False))]
    if not parts:
        shown = json.dumps(dict(args), ensure_ascii=False)[:_SHOWN_ARGS_CHARS]
        parts = [TextPart(text=f"Tool {tool} returned nothing with arguments: {shown}")]
    return ToolOutcome(tuple(_within_bounds(parts, clean)), is_error=bool(result.is_error))


def _part(block: ContentBlock) -> ResultPart:
    match block:
        case TextContent():
            return TextPart(text=block.text or "Error: No content")
        case ImageContent():
            return ImageInlinePart(encoded_data=block.data, mime_type=block.mime_type)
        case AudioContent():
            return TextPart(text=f"(audio that cannot be shown: {block.mime_type})")
        case EmbeddedResource():
            return _embedded(block)
        case ResourceLink():
            return TextPart(text=f"(a link to the resource {block.uri})")


def _embedded(block: EmbeddedResource) -> ResultPart:
    resource = block.resource
    if not isinstance(resource, BlobResourceContents):
        return TextPart(text=resource.text or "Error: No content")
    mime_type = resource.mime_type or "application/octet-stream"
    if mime_type.startswith("image/"):
        return ImageInlinePart(encoded_data=resource.blob, mime_type=mime_type)
    return FileInlinePart(encoded_data=resource.blob, mime_type=mime_type)


def _within_bounds(
    parts: Iterable[ResultPart], clean: Callable[[str], str]
) -> Iterable[ResultPart]:
    text_room, encoded_room = MAX_TEXT_CHARS + _MARK_CHARS, MAX_ENCODED_CHARS
    left_out = 0
    for part in parts:
        if isinstance(part, TextPart):
            if text_room <= 0:
                left_out += 1
                continue
            yield TextPart(text=cut(storable(clean(part.text)), text_room))
            text_room -= len(part.text)
        elif isinstance(part, ResourceLinkPart):
            yield part
        elif len(part.encoded_data) > encoded_room:
            left_out += 1
        else:
            encoded_room -= len(part.encoded_data)
            yield part
    if left_out:
        yield TextPart(
            text=f"… {left_out:,} more parts of the result were too large and left out …"
        )

"""What a tool answered, as parts that can be stored and sent to a model."""

from __future__ import annotations

import base64
import json
import re
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
    link_text,
)
from perstack.ports.skills import ToolOutcome
from perstack.skills.base.media import image_type
from perstack.skills.text import MAX_TEXT_CHARS, cut, storable

MAX_ENCODED_CHARS: Final = 30_000_000
MAX_AUDIO_CHARS: Final = 2_000_000
MAX_LINK_CHARS: Final = 2_000
_UNKNOWN: Final = "application/octet-stream"
_MIME: Final = re.compile(r"[a-zA-Z0-9.+-]{1,60}/[a-zA-Z0-9.+-]{1,80}")
_PDF: Final = b"%PDF-"
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
            return _file(block.data, block.mime_type)
        case AudioContent():
            return _audio(block)
        case EmbeddedResource():
            return _embedded(block)
        case ResourceLink():
            return _link(block)


def _link(block: ResourceLink) -> ResourceLinkPart:
    return ResourceLinkPart(
        uri=str(block.uri),
        name=block.name,
        mime_type=block.mime_type,
        description=block.description,
    )


def _embedded(block: EmbeddedResource) -> ResultPart:
    resource = block.resource
    if isinstance(resource, BlobResourceContents):
        return _file(resource.blob, resource.mime_type)
    return TextPart(text=resource.text or "Error: No content")


def _audio(block: AudioContent) -> ResultPart:
    if len(block.data) > MAX_AUDIO_CHARS:
        return TextPart(text=f"(audio that is too large to be passed on: {_mime(block.mime_type)})")
    return _file(block.data, block.mime_type)


def _file(encoded: str, mime_type: str | None) -> ResultPart:
    """Return what the bytes are, not what they are said to be.

    A vendor refuses the whole conversation, now and later, for one picture that is none.
    """
    if len(encoded) > MAX_ENCODED_CHARS:
        return FileInlinePart(encoded_data=encoded, mime_type=_UNKNOWN)
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError:
        return TextPart(text=f"({_mime(mime_type)} that is not valid base64)")
    picture = image_type(data)
    if picture is not None:
        return ImageInlinePart(encoded_data=encoded, mime_type=picture)
    given = "application/pdf" if _PDF in data[:1024] else _mime(mime_type)
    poses = given == "application/pdf" and _PDF not in data[:1024]
    return FileInlinePart(encoded_data=encoded, mime_type=_UNKNOWN if poses else given)


def _mime(given: str | None) -> str:
    return given.lower() if given and _MIME.fullmatch(given) else _UNKNOWN


def _within_bounds(
    parts: Iterable[ResultPart], clean: Callable[[str], str]
) -> Iterable[ResultPart]:
    text_room, encoded_room = MAX_TEXT_CHARS + _MARK_CHARS, MAX_ENCODED_CHARS
    left_out = 0
    for part in parts:
        shown = _cleaned(part, clean)
        if isinstance(shown, TextPart | ResourceLinkPart):
            if (room := text_room) <= 0:
                left_out += 1
                continue
            text_room -= _length(shown)
            yield TextPart(text=cut(shown.text, room)) if isinstance(shown, TextPart) else shown
        elif len(shown.encoded_data) > encoded_room:
            left_out += 1
        else:
            encoded_room -= len(shown.encoded_data)
            yield shown
    if left_out:
        yield TextPart(
            text=f"… {left_out:,} more parts of the result were too large and left out …"
        )


def _cleaned(part: ResultPart, clean: Callable[[str], str]) -> ResultPart:
    """Return what may be stored: no secret, and no half character, in any text."""
    match part:
        case TextPart():
            return TextPart(text=storable(clean(part.text)))
        case ResourceLinkPart():
            texts = {
                "uri": part.uri,
                "name": part.name,
                "mime_type": part.mime_type,
                "description": part.description,
            }
            cleaned = {
                key: storable(clean(cut(text, MAX_LINK_CHARS)))
                for key, text in texts.items()
                if text is not None
            }
            return part.model_copy(update=cleaned)
        case _:
            return part


def _length(part: TextPart | ResourceLinkPart) -> int:
    return len(part.text if isinstance(part, TextPart) else link_text(part))

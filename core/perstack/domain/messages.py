"""Messages between user, Expert and tools, in Perstack's shape."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import MessageId, ToolCallId


class TextPart(Model):
    """Plain text."""

    type: Literal["textPart"] = "textPart"
    text: str


class ImageInlinePart(Model):
    """An image as base64."""

    type: Literal["imageInlinePart"] = "imageInlinePart"
    encoded_data: str
    mime_type: str


class FileInlinePart(Model):
    """A file (a PDF, say) as base64."""

    type: Literal["fileInlinePart"] = "fileInlinePart"
    encoded_data: str
    mime_type: str


class ResourceLinkPart(Model):
    """A link to something that an MCP server can be asked for."""

    type: Literal["resourceLinkPart"] = "resourceLinkPart"
    uri: str
    name: str
    mime_type: str | None = None
    description: str | None = None


class ProviderPart(Model):
    """A block that only its provider understands (a tool that the provider itself ran, say).

    `payload` goes back unchanged to `provider`, and to no other.
    """

    type: Literal["providerPart"] = "providerPart"
    provider: str
    payload: dict[str, JsonValue]


class ThinkingPart(Model):
    """A model's reasoning; `signature` must go back to the vendor unchanged."""

    type: Literal["thinkingPart"] = "thinkingPart"
    thinking: str
    signature: str | None = None


class ToolCallPart(Model):
    """A tool call asked for by the model.

    `invalid_args` holds the raw text when the arguments were not a JSON object; `args` is then
    empty and the call must not be run.
    """

    type: Literal["toolCallPart"] = "toolCallPart"
    tool_call_id: ToolCallId
    tool_name: str
    args: dict[str, JsonValue]
    invalid_args: str | None = None


ResultPart = Annotated[
    TextPart | ImageInlinePart | FileInlinePart | ResourceLinkPart, Field(discriminator="type")
]


class ToolResultPart(Model):
    """The answer to one tool call."""

    type: Literal["toolResultPart"] = "toolResultPart"
    tool_call_id: ToolCallId
    tool_name: str
    contents: tuple[ResultPart, ...]
    is_error: bool | None = None


ExpertPart = Annotated[
    TextPart | ThinkingPart | ToolCallPart | ProviderPart, Field(discriminator="type")
]


class InstructionMessage(Model):
    """The system prompt."""

    type: Literal["instructionMessage"] = "instructionMessage"
    id: MessageId
    contents: tuple[TextPart, ...]
    cache: bool | None = None


class UserMessage(Model):
    """What the user, or the delegating Expert, said."""

    type: Literal["userMessage"] = "userMessage"
    id: MessageId
    contents: tuple[ResultPart, ...]


class ExpertMessage(Model):
    """What the model said: thinking, then text, then tool calls."""

    type: Literal["expertMessage"] = "expertMessage"
    id: MessageId
    contents: tuple[ExpertPart, ...]

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return "".join(part.text for part in self.contents if isinstance(part, TextPart))

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """The tool calls, in the model's order."""
        return tuple(part for part in self.contents if isinstance(part, ToolCallPart))


class ToolMessage(Model):
    """The results of one response's tool calls."""

    type: Literal["toolMessage"] = "toolMessage"
    id: MessageId
    contents: tuple[ToolResultPart, ...]


Message = Annotated[
    InstructionMessage | UserMessage | ExpertMessage | ToolMessage, Field(discriminator="type")
]


def link_text(part: ResourceLinkPart) -> str:
    """Return a link as a model that cannot follow it reads it."""
    about = [each for each in (part.mime_type, part.description) if each]
    said = f": {', '.join(about)}" if about else ""
    return f"[resource {part.name} at {part.uri}{said}]"


def text_of(parts: tuple[ResultPart, ...]) -> str:
    """Return the text among `parts`, joined by newlines."""
    return "\n".join(part.text for part in parts if isinstance(part, TextPart))

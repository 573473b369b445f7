"""Marks on what is kept of reasoning, so that it goes back to the vendor it came from alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from perstack.providers.wire import encode, obj, text

# Anthropic cuts some reasoning out and sends it encrypted.
REDACTED: Final = "redacted_thinking:"
# OpenAI's Responses: the reasoning item's id and encrypted content follow as JSON.
RESPONSES: Final = "openai_reasoning:"


def sign_responses(item: Mapping[str, object]) -> str:
    """Return the signature for a reasoning item, empty if the item cannot be sent again."""
    content = text(item.get("encrypted_content"))
    if not content:
        return ""
    return RESPONSES + encode({"id": text(item.get("id")), "content": content}).decode()


def read_responses(signature: str | None) -> tuple[str, str] | None:
    """Return id and encrypted content, None if the signature is another vendor's or damaged."""
    if signature is None or not signature.startswith(RESPONSES):
        return None
    try:
        read = obj(json.loads(signature.removeprefix(RESPONSES)))
    except ValueError:
        return None
    found = text(read.get("id")), text(read.get("content"))
    return found if found[1] else None


def is_anthropics(signature: str) -> bool:
    """Tell whether a signature may be Anthropic's own."""
    return not signature.startswith(RESPONSES)

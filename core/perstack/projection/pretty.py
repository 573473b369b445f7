"""JSON as people read it."""

from __future__ import annotations

import json

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, to_json


def pretty_json(value: JsonValue) -> str:
    """Return `value` as JSON with two spaces a level.

    Python's own encoder takes seven times as long, and leaves a ring of garbage for each call.
    """
    try:
        return to_json(value, indent=2, inf_nan_mode="constants").decode()
    except PydanticSerializationError:  # half of a surrogate pair, as a model may write it
        return json.dumps(value, ensure_ascii=False, indent=2)

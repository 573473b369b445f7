"""What a server tells unasked, taken down to what is used of it, before the SDK sees it.

The SDK reports each notification that it cannot read with a traceback, and a number that no float
holds ends its loop; a server must be able to do neither.
"""

from __future__ import annotations

import json
import math
from typing import Final

from pydantic import JsonValue

Json = dict[str, JsonValue]

# No method of the protocol's, so the SDK drops it without a word.
UNHEARD: Final = "perstack/unheard"
_LEVELS: Final = frozenset(
    {"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}
)


def is_notification(message: Json) -> bool:
    """Tell whether a message of a server wants no answer and is none."""
    return "method" in message and message.get("id") is None


def heard(message: Json) -> Json:
    """Return a notification with no more than what is used of it; others as `UNHEARD`."""
    params = message.get("params")
    taken = _taken(message.get("method"), params if isinstance(params, dict) else {})
    if taken is None:
        return {"jsonrpc": "2.0", "method": UNHEARD}
    return {"jsonrpc": "2.0", "method": message["method"], "params": taken}


def _taken(method: JsonValue, params: Json) -> Json | None:
    match method:
        case "notifications/progress":
            return _progress(params)
        case "notifications/message":
            return _log(params)
        case "notifications/cancelled" if _is_id(params.get("requestId")):
            return {"requestId": params["requestId"]}
        case _:
            return None


def _progress(params: Json) -> Json | None:
    token, progress = params.get("progressToken"), _number(params.get("progress"))
    if progress is None or not _is_id(token):
        return None
    taken: Json = {"progressToken": token, "progress": progress}
    if (total := _number(params.get("total"))) is not None:
        taken["total"] = total
    if isinstance(said := params.get("message"), str):
        taken["message"] = said
    return taken


def _log(params: Json) -> Json:
    level, logger, data = params.get("level"), params.get("logger"), params.get("data")
    known = isinstance(level, str) and level in _LEVELS
    taken: Json = {"level": level if known else "info", "data": _as_text(data)}
    if isinstance(logger, str):
        taken["logger"] = logger
    return taken


def _as_text(data: JsonValue) -> str:
    # Whole: a secret can be taken out of it only as long as it is not cut.
    return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)


def _is_id(value: JsonValue) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _number(value: JsonValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None

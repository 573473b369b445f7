"""What a registry refuses, in the words of our errors and with the next thing to do."""

from __future__ import annotations

import math
import re
import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from perstack.config.registry_place import URL_VARIABLE
from perstack.config.report import printable
from perstack.errors import (
    RegistryMissingError,
    RegistryRefusedError,
    RegistryUnreachableError,
)
from perstack.integrations.registry_answers import Said

_LONGEST_REASON: Final = 400
_LONGEST_WAIT_S: Final = 86_400.0
_LONGEST_HEADER: Final = 64

AGAIN: Final = f"try again, or set {URL_VARIABLE} if it is another registry that is meant"
_SIGN_IN: Final = "set PERSTACK_API_KEY, or type: perstack login"
_CHANGED: Final = "what was sent was changed on its way: is there a proxy before the registry?"
_BY_STATUS: Final = {
    400: "perstack info KEY shows what the registry has",
    401: _SIGN_IN,
    403: "ask an owner of the organisation for a key that may",
    404: "perstack search WORDS finds Experts; perstack versions NAME lists what there is of one",
    405: _CHANGED,
    408: "try again where the network is faster",
    409: "somebody else was first: look what is there, then try again",
    413: "what is published of one Expert is at most 1 MB",
    415: _CHANGED,
    422: "correct it and send it again",
}
# What the registry's own reasons mean for its user, the first that fits. Each pattern is of words
# that no name of an Expert makes by itself.
_BY_REASON: Final = (
    (r"already published", "raise version = in perstack.toml, then publish again"),
    (r"versions? already", "publish under another name, or unpublish old versions"),
    (r"already taken|name is taken", "choose another name, or one of your own: @organisation/name"),
    (r"must not be scoped", "leave @organisation/ out of the name"),
    (r"must be scoped", 'name it so in perstack.toml, too: [experts."@organisation/name"]'),
    (r"delegated to by|delegated by", "deprecate it instead: perstack status KEY deprecated"),
    (r"delegate .*(?:not found|unknown|missing)", "publish the delegate first"),
    (r"@perstack/base .*required|requires? @perstack/base", "give it the skill @perstack/base"),
    (r"latest .*by hand", "latest moves by itself, to the highest version"),
    (r"same status", "there is nothing to change"),
    (r"immutable|cannot go back", "publish another version instead"),
    (r"lacks the scope", "ask who runs the registry for a key that may"),
    (r"has expired|was revoked", "ask who runs the registry for another key; then: perstack login"),
    (r"not owned", "only its owner may: is it the right key? perstack login"),
    (r"^host not allowed", "use the name it is known by, or ask who runs it to allow this one"),
    (r"^origin not allowed", _CHANGED),
)


def busy(host: str, wait_s: float | None) -> RegistryUnreachableError:
    """Return the error for a registry that wants to be left alone for `wait_s` seconds."""
    when = "in a while" if wait_s is None else f"in {math.ceil(wait_s)} s"
    return RegistryUnreachableError(
        f"the registry at {host} was asked too often and answers again {when}",
        hint=f"try again {when}",
    )


def failing(host: str, status: int, said: Said, wait_s: float | None) -> RegistryUnreachableError:
    """Return the error for a registry that cannot answer, and may say why and for how long.

    `said` holds no key any more.
    """
    reason = printable(" ".join(said.reason.split()), longest=_LONGEST_REASON)
    how = "cannot answer now" if status == HTTPStatus.SERVICE_UNAVAILABLE else "fails"
    why = f": {reason}" if reason else ""
    return RegistryUnreachableError(
        f"the registry at {host} {how} (HTTP {status}){why}",
        hint=AGAIN if wait_s is None else f"try again in {math.ceil(wait_s)} s",
    )


def refused(status: int, said: Said, *, what: str, host: str) -> RegistryRefusedError:
    """Return the error for an answer of `host` that refuses.

    `said` holds no key any more. `what` is what was asked.
    """
    reason = printable(" ".join(said.reason.split()), longest=_LONGEST_REASON)
    error = printable(" ".join(said.error.split()), longest=_LONGEST_REASON)
    if status == HTTPStatus.NOT_FOUND:
        message = (
            f"{reason} in the registry at {host}"
            if reason.endswith(" is not found")
            else f"{what} failed: {reason or f'not found in the registry at {host}'}"
        )
        return RegistryMissingError(
            message, hint=_hint(status, reason), status=status, reason=reason
        )
    why = reason or error or f"the registry refuses it (HTTP {status})"
    return RegistryRefusedError(
        f"{what} failed: {why}", hint=_hint(status, reason), status=status, reason=reason
    )


def wait_in(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, None if it says nothing of use."""
    if not header or len(header) > _LONGEST_HEADER:
        return None
    try:
        seconds = float(header)
    except ValueError:
        seconds = _until(header)
    return min(max(seconds, 0.0), _LONGEST_WAIT_S) if math.isfinite(seconds) else None


def _until(header: str) -> float:
    try:
        return parsedate_to_datetime(header).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return math.nan


def _hint(status: int, reason: str) -> str | None:
    if status != HTTPStatus.NOT_FOUND:
        lowered = reason.lower()
        for pattern, hint in _BY_REASON:
            if re.search(pattern, lowered):
                return hint
    return _BY_STATUS.get(status)

"""How errors are told to other programs: the same code, words and hint at every door."""

from __future__ import annotations

import logging
from typing import Final

from pydantic import JsonValue

from perstack.config.untrusted import UntrustedError
from perstack.domain.base import Model
from perstack.errors import PerstackError

INTERNAL: Final = "internal"
ACCEPTING: Final = (
    "perstack info KEY shows all of one; who runs the server accepts it there, once: "
    "perstack install --yes, or perstack run KEY QUERY --yes"
)
_LOG: Final = logging.getLogger(__name__)


class Failure(Model):
    """Why something was not done. `code` is stable, `hint` what to do about it."""

    error: str
    code: str
    hint: str | None = None


def failure_of(error: Exception) -> Failure:
    """Return what may be told of an error; one that is not ours is logged and told by no word."""
    if isinstance(error, UntrustedError):
        return Failure(error=error.message, code=error.code, hint=_whose(error))
    if isinstance(error, PerstackError):
        return Failure(error=error.message, code=error.code, hint=error.hint)
    _LOG.error("an unexpected error", exc_info=error)
    return Failure(error="Internal error", code=INTERNAL, hint="perstack/logs has its traceback")


def _whose(error: UntrustedError) -> str | None:
    """Return what to do about what is not accepted: whoever asks a server may not accept it."""
    fetched = any(demand.kind == "expert" for demand in error.demands)
    return ACCEPTING if fetched else error.hint


def as_json(failure: Failure) -> dict[str, JsonValue]:
    """Return it as the fields of an answer."""
    return failure.model_dump(mode="json", by_alias=True, exclude_none=True)

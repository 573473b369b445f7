"""How errors are told to other programs: the same code, words and hint at every door."""

from __future__ import annotations

import logging
from typing import Final

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.errors import PerstackError

INTERNAL: Final = "internal"
_LOG: Final = logging.getLogger(__name__)


class Failure(Model):
    """Why something was not done. `code` is stable, `hint` what to do about it."""

    error: str
    code: str
    hint: str | None = None


def failure_of(error: Exception) -> Failure:
    """Return what may be told of an error; one that is not ours is logged and told by no word."""
    if isinstance(error, PerstackError):
        return Failure(error=error.message, code=error.code, hint=error.hint)
    _LOG.error("an unexpected error", exc_info=error)
    return Failure(error="Internal error", code=INTERNAL, hint="perstack/logs has its traceback")


def as_json(failure: Failure) -> dict[str, JsonValue]:
    """Return it as the fields of an answer."""
    return failure.model_dump(mode="json", by_alias=True, exclude_none=True)

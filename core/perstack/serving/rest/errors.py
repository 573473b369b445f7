"""Errors as answers: one shape, and a status for each kind of error."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from perstack.config.report import printable
from perstack.errors import (
    ConflictError,
    DeniedError,
    LimitError,
    LockedError,
    NotFoundError,
    NotSignedInError,
    PerstackError,
    ProviderError,
    RegistryError,
    RegistryMissingError,
    SkillError,
    StorageError,
    UsageError,
    WrongStateError,
)
from perstack.serving.failures import failure_of
from perstack.serving.http.limits import SlowDownError
from perstack.serving.http.unexpected import Unexpected
from perstack.serving.rest.envelope import Refusal

_LOG: Final = logging.getLogger(__name__)
_SHORT: Final = 120
_INTERNAL_STATUS: Final = 500
# The first that fits counts: those that are special cases of others come first.
_STATUSES: Final[tuple[tuple[type[PerstackError], int], ...]] = (
    (NotSignedInError, 401),
    (DeniedError, 403),
    (NotFoundError, 404),
    (WrongStateError, 400),
    (ConflictError, 409),
    (LimitError, 429),
    (LockedError, 503),
    (StorageError, 500),
    (ProviderError, 502),
    (SkillError, 502),
    (RegistryMissingError, 404),
    (RegistryError, 502),
    (UsageError, 400),
)
_OF_HTTP: Final[Mapping[int, tuple[str, str]]] = {
    400: ("Invalid JSON body", "usage"),
    404: ("Not found", "not_found"),
    405: ("Method not allowed", "usage.method"),
}
DECLARED: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Refusal, "description": about}
    for status, about in (
        (400, "What was asked cannot be done as asked"),
        (401, "Nobody is signed in"),
        (403, "Not allowed"),
        (404, "There is no such thing"),
        (405, "The path is there, for other methods"),
        (408, "The body did not arrive in time"),
        (409, "Somebody was first"),
        (413, "The body is too large"),
        (429, "Too many requests; `Retry-After` says when to come again"),
        (500, "The server could not"),
        (502, "A model's vendor, a tool server or the registry failed"),
        (503, "Not now; asking again may help"),
    )
}


def status_of(error: Exception) -> int:
    """Return the status an error is answered with."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    return _INTERNAL_STATUS


def refusal(
    status: int, error: str, code: str, *, hint: str | None = None, **headers: str
) -> Response:
    """Return an error as an answer. A `_` in the name of a header stands for `-`."""
    body = Refusal(error=error, code=code, hint=hint)
    return Response(
        body.model_dump_json(by_alias=True, ensure_ascii=True),
        status_code=status,
        media_type="application/json",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def answer_for(error: Exception) -> Response:
    """Return what is answered for an error; one that is not ours is logged, never told."""
    failure, status = failure_of(error), status_of(error)
    headers: dict[str, str] = {}
    match error:
        case SlowDownError():
            headers["Retry_After"] = str(error.retry_after_s)
        case LockedError():
            headers["Retry_After"] = "1"
        case NotSignedInError():
            headers["WWW_Authenticate"] = "Bearer"
        case _:
            pass
    return refusal(status, failure.error, failure.code, hint=failure.hint, **headers)


async def _of_ours(request: Request, error: Exception) -> Response:
    return answer_for(error)


async def _of_validation(request: Request, error: Exception) -> Response:
    first = cast("RequestValidationError", error).errors()[0]
    if first["type"] == "json_invalid":
        return refusal(400, "Invalid JSON body", "usage")
    place = ".".join(str(part) for part in first["loc"])
    return refusal(400, f"{_short(place)}: {_short(str(first['msg']))}", "usage")


async def _of_http(request: Request, error: Exception) -> Response:
    raised = cast("HTTPException", error)
    said, code = _OF_HTTP.get(raised.status_code, ("The request was refused", "usage"))
    answered = refusal(raised.status_code, said, code)
    answered.headers.update(raised.headers or {})
    return answered


def _short(text: str) -> str:
    return printable(text if len(text) <= _SHORT else f"{text[:_SHORT]}…")


def answer_errors(app: FastAPI) -> None:
    """Let every error of the application be answered in the one shape."""
    app.add_exception_handler(PerstackError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_middleware(Unexpected, answer_for=answer_for)

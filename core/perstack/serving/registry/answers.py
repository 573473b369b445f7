"""What the registry answers: envelopes of its API, and one shape for every error."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, cast

from fastapi import FastAPI
from pydantic import JsonValue
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from perstack.domain.registry import ExpertPage, ExpertQuery, RegistryExpert, VersionList
from perstack.errors import LockedError, PerstackError, RegistryRefusedError
from perstack.serving.http.limits import SlowDownError

_LOG: Final = logging.getLogger(__name__)
# How the guards that all doors share name what they refuse, and what this API calls it.
_STATUSES: Final[Mapping[str, int]] = {"denied.content_type": 415, "usage": 422}


def refusal(status: int, reason: str, **headers: str) -> Response:
    """Return an error as an answer. A `_` in the name of a header stands for `-`."""
    body = {"code": status, "error": HTTPStatus(status).phrase, "reason": reason}
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return _json(body, status=status, headers=told)


class Answers:
    """Implements `guards.Answers`."""

    def refusal(
        self, status: int, error: str, code: str, *, hint: str | None = None, **headers: str
    ) -> Response:
        """Return an error as an answer."""
        reason = error if hint is None else f"{error}: {hint}"
        return refusal(_STATUSES.get(code, status), reason, **headers)

    def answer_for(self, error: Exception) -> Response:
        """Return what is answered for an error; one that is not for clients is logged alone."""
        match error:
            case RegistryRefusedError(status=401, message=reason):
                return refusal(401, reason, WWW_Authenticate="Bearer")
            case RegistryRefusedError(status=status, message=reason):
                return refusal(status, reason)
            case SlowDownError(message=reason, retry_after_s=wait):
                return refusal(429, reason, Retry_After=str(wait))
            case LockedError() | TimeoutError():
                return refusal(503, "the registry is busy, ask again", Retry_After="1")
            case _:
                _LOG.error("the registry could not answer", exc_info=error)
                return refusal(500, "the registry could not answer; its log says why")


ANSWERS: Final = Answers()


def expert_answer(expert: RegistryExpert) -> Response:
    """Return one Expert."""
    return _json({"data": {"expert": _told(expert)}})


def page_answer(page: ExpertPage, query: ExpertQuery) -> Response:
    """Return a page of Experts."""
    meta: dict[str, JsonValue] = {"total": page.total, "take": query.take, "skip": query.skip}
    return _json({"data": {"experts": [_told(each) for each in page.experts]}, "meta": meta})


def versions_answer(found: VersionList) -> Response:
    """Return the versions of an Expert."""
    told: list[JsonValue] = [
        each.model_dump(mode="json", exclude_none=True) for each in found.versions
    ]
    data: dict[str, JsonValue] = {"versions": told, "latest": found.latest}
    return _json({"data": data, "meta": {"total": len(told)}})


def _told(expert: RegistryExpert) -> dict[str, JsonValue]:
    return expert.model_dump(mode="json", exclude_none=True)


def _json(
    body: Mapping[str, JsonValue], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    # In ASCII: whatever a text holds, it arrives.
    text = json.dumps(body, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Response(text, status, headers, media_type="application/json")


async def _of_ours(request: Request, error: Exception) -> Response:
    return ANSWERS.answer_for(error)


async def _of_http(request: Request, error: Exception) -> Response:
    raised = cast("HTTPException", error)
    answered = refusal(raised.status_code, HTTPStatus(raised.status_code).phrase)
    answered.headers.update(raised.headers or {})
    return answered


def answer_errors(app: FastAPI) -> None:
    """Let every error of the routes be answered in the one shape."""
    app.add_exception_handler(PerstackError, _of_ours)
    app.add_exception_handler(HTTPException, _of_http)

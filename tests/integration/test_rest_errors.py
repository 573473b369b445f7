"""Errors at the REST door: one shape, whatever went wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import APIRouter
from pydantic import BaseModel

from perstack.errors import (
    ConflictError,
    DeniedError,
    LimitError,
    LockedError,
    NotFoundError,
    NotSignedInError,
    PerstackError,
    ProviderError,
    SkillError,
    StorageError,
    UsageError,
)
from perstack.serving.http.limits import SlowDownError
from tests.fakes.rest_door import rest, rest_door

pytestmark = pytest.mark.anyio


class _Body(BaseModel):
    number: int


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("no", hint="try yes"), 400),
        (NotSignedInError("Invalid token"), 401),
        (DeniedError("no"), 403),
        (NotFoundError("no"), 404),
        (ConflictError("no"), 409),
        (LimitError("no"), 429),
        (SlowDownError("no", retry_after_s=2.5), 429),
        (ProviderError("no"), 502),
        (SkillError("no"), 502),
        (LockedError("no"), 503),
        (StorageError("no"), 500),
    ],
)
async def test_each_kind_of_error_has_its_status_its_code_and_its_hint(
    tmp_path: Path, error: PerstackError, status: int
) -> None:
    async with rest_door(tmp_path) as door:
        router = APIRouter()

        @router.get("/breaks")
        async def breaks() -> None:
            raise error

        door.app.include_router(router)
        answered = await door.client.get("/breaks")
    told = answered.json()
    assert answered.status_code == status
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "success": False,
        "error": error.message,
        "code": error.code,
        "hint": error.hint,
    }
    if isinstance(error, SlowDownError):
        assert answered.headers["retry-after"] == "3"


async def test_what_is_unexpected_is_answered_without_its_words_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with rest_door(tmp_path) as door:
        router = APIRouter()

        @router.get("/breaks")
        async def breaks() -> None:
            raise RuntimeError("the-words-of-it")

        door.app.include_router(router)
        answered = await door.client.get("/breaks")
    assert answered.status_code == 500
    assert answered.json()["error"] == "Internal error"
    assert "the-words-of-it" not in answered.text
    assert "the-words-of-it" in caplog.text


async def test_an_unknown_path_and_a_wrong_method_have_the_same_shape(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        missing = await client.get("/api/v1/nothing")
        wrong = await client.put("/api/v1/agents", json={})
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert wrong.status_code == 405
    assert wrong.json()["success"] is False


async def test_a_body_that_does_not_fit_is_a_400_that_repeats_nothing_of_it(
    tmp_path: Path,
) -> None:
    async with rest_door(tmp_path) as door:
        router = APIRouter()

        @router.post("/takes")
        async def takes(body: _Body) -> None:
            return None

        door.app.include_router(router)
        wrong = await door.client.post("/takes", json={"number": "a-secret-of-mine"})
        broken = await door.client.post(
            "/takes", content=b"{", headers={"Content-Type": "application/json"}
        )
    assert wrong.status_code == 400
    assert wrong.json()["error"].startswith("body.number: ")
    assert "a-secret-of-mine" not in wrong.text
    assert (broken.status_code, broken.json()["error"]) == (400, "Invalid JSON body")


async def test_the_description_knows_no_422_and_declares_every_refusal(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        description = (await client.get("/openapi.json")).json()
    for path in description["paths"].values():
        for operation in path.values():
            assert "422" not in operation["responses"]
            assert {"400", "401", "403", "404", "409", "413", "429"} <= set(operation["responses"])
    assert "HTTPValidationError" not in description["components"]["schemas"]

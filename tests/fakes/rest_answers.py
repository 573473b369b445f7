"""What tests read out of the REST door's answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import anyio
from httpx2 import AsyncClient, Response

API = "/api/v1"
Json = dict[str, Any]
_BETWEEN_S = 0.02


def data(answered: Response, status: int = 200) -> Any:
    """Return what was answered, which must be of that status."""
    assert answered.status_code == status, answered.text
    told = answered.json()
    assert told["success"] is True
    assert told["timestamp"].endswith("Z")
    return told["data"]


def refused(answered: Response, status: int) -> str:
    """Return the words of a refusal, which must be of that status and of the one shape."""
    assert answered.status_code == status, answered.text
    told = cast("Json", answered.json())
    assert told["success"] is False
    assert told["code"]
    return str(told["error"])


async def becomes(
    client: AsyncClient, path: str, wanted: Callable[[Any], bool], *, within_s: float = 20.0
) -> Any:
    """Return what is at `path` once it is as wanted.

    Raises:
        AssertionError: it was not, in time.
    """
    deadline = anyio.current_time() + within_s
    while not wanted(found := data(await client.get(f"{API}{path}"))):
        assert anyio.current_time() < deadline, found
        await anyio.sleep(_BETWEEN_S)
    return found

"""A client of the registry's API that says what it is told to, right or wrong."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

from httpx2 import AsyncClient, Response

from perstack.domain.registry import API

Json = dict[str, Any]
BASE: Final[Json] = {
    "@perstack/base": {
        "type": "mcpStdioSkill",
        "command": "npx",
        "packageName": "@perstack/base",
    }
}


def definition(name: str = "@acme/writer", version: str = "1.0.0", **more: object) -> Json:
    """A body that is published; `None` leaves a key out."""
    body: Json = {
        "name": name,
        "version": version,
        "minRuntimeVersion": "v1.0",
        "description": "Writes.",
        "instruction": "You write.",
        "skills": BASE,
        "delegates": [],
        "tags": ["latest"],
        **more,
    }
    return {key: value for key, value in body.items() if value is not None}


class Calls:
    """Calls of the API, with a key or without one."""

    def __init__(self, client: AsyncClient, key: str | None) -> None:
        self.client = client
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    async def publish(
        self, name: str = "@acme/writer", version: str = "1.0.0", **more: object
    ) -> Response:
        body = definition(name, version, **more)
        return await self.client.post(f"{API}/", json=body, headers=self.headers)

    async def find(self, key: str) -> Response:
        return await self.client.get(place_of(key), headers=self.headers)

    async def versions(self, key: str) -> Response:
        return await self.client.get(f"{place_of(key)}/versions", headers=self.headers)

    async def search(self, **query: str | int) -> Response:
        return await self.client.get(f"{API}/", params=query, headers=self.headers)

    async def update(self, key: str, **change: object) -> Response:
        return await self.client.post(place_of(key), json=change, headers=self.headers)

    async def unpublish(self, key: str) -> Response:
        return await self.client.delete(place_of(key), headers=self.headers)

    async def latest(self, name: str) -> str | None:
        """The version that `latest` is at."""
        told = await self.versions(name)
        assert told.status_code == 200, told.text
        return told.json()["data"]["latest"]


def place_of(key: str) -> str:
    """The path of a key, encoded as clients send it."""
    return f"{API}/{quote(key, safe='')}"


def expert_in(answered: Response) -> Json:
    """The Expert of an answer that succeeded."""
    assert answered.status_code == 200, answered.text
    return answered.json()["data"]["expert"]


def reason_in(answered: Response, status: int = 400) -> str:
    """Why it was refused."""
    assert answered.status_code == status, answered.text
    body = answered.json()
    assert set(body) == {"code", "error", "reason"}
    assert body["code"] == status
    assert body["error"]
    return body["reason"]


@asynccontextmanager
async def calling(url: str, key: str | None = None) -> AsyncGenerator[Calls]:
    """A client with its connections."""
    async with AsyncClient(base_url=url, timeout=30) as client:
        yield Calls(client, key)

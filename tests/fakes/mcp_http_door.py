"""The MCP door over HTTP in this process: a real socket, the official client."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx2
from mcp.client import Client as SdkClient
from mcp.client.streamable_http import streamable_http_client

from perstack.serving.backend import Place, open_backend
from perstack.serving.jobs import open_jobs
from perstack.serving.mcp.http import Listening, listening

TOKEN: Final = "token-of-these-tests"
INITIALIZE: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
ACCEPTS: Final = {"Accept": "application/json, text/event-stream"}
KNOWN: Final = {**ACCEPTS, "Authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def http_door(folder: Path, *, token: str | None = TOKEN) -> AsyncGenerator[str]:
    """Serve `folder` on a free port of this machine, and give the URL."""
    place = Place(folder, trust=True)
    async with (
        open_backend(place) as backend,
        open_jobs(backend) as jobs,
        listening(backend, jobs, Listening(token=token)) as url,
    ):
        yield url


@asynccontextmanager
async def http_client(url: str, *, mode: str = "auto") -> AsyncGenerator[SdkClient]:
    """Connect the official client, with the token."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30.0) as http,
        SdkClient(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client

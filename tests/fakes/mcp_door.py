"""The MCP door without a process: a real backend in a folder, and the official SDK's client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp.client import Client as SdkClient
from mcp.types import CallToolResult, TextContent, Tool

from perstack.domain.memory import Caller
from perstack.serving.backend import Backend, Place, open_backend
from perstack.serving.jobs import ServedJobs, open_jobs
from perstack.serving.mcp.server import ToolServer
from perstack.serving.verbs.catalog import verbs
from perstack.serving.verbs.verb import AnyVerb, Client

NAME = "ana@desk over MCP"


class McpDoor:
    """An open door: what is behind it, and a client that called before it."""

    def __init__(self, backend: Backend, jobs: ServedJobs, client: SdkClient, who: Client) -> None:
        self.backend = backend
        self.jobs = jobs
        self.client = client
        self.who = who

    @property
    def who_as_caller(self) -> Caller:
        """The client as the services know it."""
        return Caller(name=self.who.name)

    async def call(self, name: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return a tool's structured answer; fail if it is an error of the protocol."""
        result = await self.result(name, arguments)
        assert not result.is_error, text_of(result)
        assert result.structured_content is not None
        return result.structured_content

    async def result(self, name: str, arguments: dict[str, Any] | None = None) -> CallToolResult:
        """Return what a tool answered. The SDK has checked it against the output schema."""
        return await self.client.call_tool(name, arguments or {})

    async def tools(self) -> dict[str, Tool]:
        """Return the tools that are listed, by name, in their order."""
        return {tool.name: tool for tool in (await self.client.list_tools()).tools}


def text_of(result: CallToolResult) -> str:
    """Return the one text of a result."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


@asynccontextmanager
async def door(
    folder: Path,
    toml: str = "",
    *,
    reviews: bool = False,
    trust: bool = True,
    offered: Mapping[str, AnyVerb] | None = None,
) -> AsyncGenerator[McpDoor]:
    """Open a door to `folder`, whose perstack.toml is `toml` (none at all if that is empty).

    It offers all verbs, with `reviews` those of review loops too, unless `offered` says which.
    """
    if toml:
        (folder / "perstack.toml").write_text(toml, "utf-8")
    place, who = Place(folder, trust=trust), Client(NAME)
    async with open_backend(place) as backend, open_jobs(backend) as jobs:
        every = verbs(reviews=reviews) if offered is None else offered
        server = ToolServer(backend, jobs, every, who).build()
        async with SdkClient(server) as client:
            # Once it knows the tools it checks every answer against their output schemas.
            await client.list_tools()
            yield McpDoor(backend, jobs, client, who)

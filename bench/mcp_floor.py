"""The least MCP server: the SDK's own transport and one tool that says a word."""

from __future__ import annotations

from typing import Any

import anyio
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

Context = ServerRequestContext[dict[str, Any]]


async def _list(_: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name="echo", input_schema={"type": "object"})])


async def _call(_: Context, __: CallToolRequestParams) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text="a word")])


async def main() -> None:
    """Serve until standard input ends."""
    server = Server("floor", on_list_tools=_list, on_call_tool=_call)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    anyio.run(main)

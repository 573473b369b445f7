"""An MCP server of two tools, as small as the SDK lets one be: what most servers at least cost."""

from __future__ import annotations

from typing import Any

import anyio
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

_SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}


async def _list(
    _context: ServerRequestContext[Any, Any], _params: PaginatedRequestParams | None
) -> ListToolsResult:
    return ListToolsResult(
        tools=[
            Tool(name=name, description="Look something up.", input_schema=_SCHEMA)
            for name in ("search", "fetch")
        ]
    )


async def _call(
    _context: ServerRequestContext[Any, Any], _params: CallToolRequestParams
) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text="Nothing found.")])


async def _main() -> None:
    server = Server("bench", version="1.0.0", on_list_tools=_list, on_call_tool=_call)
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


if __name__ == "__main__":
    anyio.run(_main)

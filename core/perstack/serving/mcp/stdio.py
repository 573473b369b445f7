"""The MCP server over standard input and output: one client, until it closes its end."""

from __future__ import annotations

from mcp.server.stdio import stdio_server

from perstack.services.consensus import whoami
from perstack.serving.backend import Place, open_backend
from perstack.serving.jobs import open_jobs
from perstack.serving.mcp.server import ToolServer
from perstack.serving.verbs.catalog import verbs
from perstack.serving.verbs.verb import Client


async def serve_stdio(place: Place) -> None:
    """Serve until standard input ends.

    Raises:
        ConfigError, UsageError: the place cannot be served.
    """
    async with open_backend(place) as backend, open_jobs(backend) as jobs:
        server = ToolServer(backend, jobs, verbs(), Client(f"{whoami()} over MCP")).build()
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

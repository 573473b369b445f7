"""`perstack mcp`: the tools that other programs, such as Claude Code, are offered."""

from __future__ import annotations

from typing import Annotated

import typer

from perstack.cli import options as o


def mcp_app() -> typer.Typer:
    """Return the `mcp` commands."""
    app = typer.Typer(
        name="mcp",
        help="Offer this folder's agents, tasks and Experts to MCP clients.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.command(name="start")(start)
    return app


def start(
    transport: Annotated[
        str, typer.Option("--transport", metavar="stdio", help="How clients speak to it.")
    ] = "stdio",
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
) -> None:
    """Start the MCP server on standard input and output, for one client."""
    import anyio

    from perstack.cli.looking import say_what_is_logged
    from perstack.serving.backend import Place
    from perstack.serving.mcp.stdio import serve_stdio

    say_what_is_logged()
    anyio.run(serve_stdio, Place(workspace.absolute(), config, trust=trust))

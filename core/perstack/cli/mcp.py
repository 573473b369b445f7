"""`perstack mcp`: the tools that other programs, such as Claude Code, are offered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from perstack.serving.verbs.verb import AnyVerb

TOKEN_VARIABLE = "PERSTACK_MCP_TOKEN"  # noqa: S105  the name of a variable
_OTHERS = ("expert", "job", "review")
_SHORTEST_TOKEN = 16

Reviews = Annotated[bool, typer.Option("--review-loops", help="Offer the review_loop_* tools too.")]


def mcp_app() -> typer.Typer:
    """Return the `mcp` commands."""
    app = typer.Typer(
        name="mcp",
        help="Offer this folder's agents, tasks and Experts to MCP clients.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.command(name="start")(start)
    app.command(name="tools")(tools)
    return app


def start(
    transport: Annotated[
        str, typer.Option("--transport", metavar="NAME", help="stdio (one client) or http.")
    ] = "stdio",
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="HOST", help="With http: the address (127.0.0.1)."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", min=0, max=65_535, help="With http (0: any)."),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="With http: let every program of this machine in.")
    ] = False,
    review_loops: Reviews = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
) -> None:
    """Start the MCP server: on standard input and output for one client, or over HTTP for many.

    Over HTTP the URL and a token are printed on standard error; PERSTACK_MCP_TOKEN sets the token.
    """
    from functools import partial

    import anyio

    from perstack.cli.looking import log_as_a_server
    from perstack.errors import UsageError
    from perstack.serving.backend import Place

    place = Place(workspace.absolute(), config, trust=trust)
    if transport == "stdio":
        from perstack.serving.mcp.stdio import serve_stdio

        if host is not None or port is not None or no_token:
            raise UsageError(
                "--host, --port and --no-token are of HTTP", hint="add --transport http"
            )
        log_as_a_server(workspace.absolute())
        anyio.run(partial(serve_stdio, place, reviews=review_loops))
        return
    if transport != "http":
        raise UsageError(f"--transport {transport!a} is not usable", hint="stdio or http")
    from perstack.cli.listeners import say
    from perstack.serving.mcp.http import Listening, serve_http

    log_as_a_server(workspace.absolute())
    given = None if no_token else _token()
    at = Listening(host or "127.0.0.1", port or 0, None if given is None else given[0])

    def said(url: str) -> None:
        say(f"MCP: {url}")
        if given is not None and given[1]:
            say(f"Token: {given[0]}")

    anyio.run(partial(serve_http, place, at, reviews=review_loops, said=said))


def _token() -> tuple[str, bool]:
    """Return the token, and whether it is new.

    Raises:
        UsageError: the one that is set is too short.
    """
    import os
    import secrets

    from perstack.errors import UsageError

    given = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not given:
        return secrets.token_urlsafe(32), True
    if len(given) < _SHORTEST_TOKEN or not given.isascii():
        raise UsageError(
            f"{TOKEN_VARIABLE} is not usable",
            hint=f"use {_SHORTEST_TOKEN} letters, digits and signs or more",
        )
    return given, False


def tools(
    review_loops: Reviews = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the tools by what they are about."""
    import json

    from perstack.cli.printing import print_lines
    from perstack.serving.verbs.catalog import verbs

    every = verbs(reviews=review_loops)
    if as_json:
        listed = [{"name": verb.name, "description": verb.about} for verb in every.values()]
        print_lines([json.dumps({"tools": listed, "total": _seeds(every), "count": len(listed)})])
        return
    print_lines(_lines(every))


def _lines(every: Mapping[str, AnyVerb]) -> Iterator[str]:
    groups: dict[str, list[AnyVerb]] = {}
    for verb in every.values():
        groups.setdefault(_group(verb.name), []).append(verb)
    width = max(map(len, every))
    for others in (False, True):
        for group, members in groups.items():
            if (group in _OTHERS) is not others:
                continue
            yield f"{group.capitalize()} ({len(members)}):"
            yield from (f"  {verb.name:<{width}}  {verb.about}" for verb in members)
            yield ""
        if not others:
            yield f"Total: {_seeds(every)} tools"
            yield ""
    yield f"With those of Experts: {len(every)} tools"


def _group(name: str) -> str:
    return name.split("_", maxsplit=1)[0]


def _seeds(every: Mapping[str, AnyVerb]) -> int:
    return sum(_group(name) not in _OTHERS for name in every)

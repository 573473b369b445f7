"""`perstack serve`: the services over HTTP, for scripts, dashboards and other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from perstack.cli import options as o

Port = Annotated[
    int,
    typer.Option(
        "-p", "--port", metavar="N", min=0, max=65_535, help="The port; 0 is any that is free."
    ),
]
Host = Annotated[
    str, typer.Option("--host", metavar="HOST", help="The address to listen on (127.0.0.1).")
]
Cors = Annotated[
    str | None,
    typer.Option(
        "--cors", metavar="ORIGINS", help="Origins whose pages may ask, separated by commas."
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="A name that the server is reached by."),
]
NoAuth = Annotated[
    bool, typer.Option("--no-auth", help="Ask nobody who they are; only on this machine.")
]
OpenRegistration = Annotated[
    bool, typer.Option("--open-registration", help="Let anybody become a user, as a developer.")
]
OpenMetrics = Annotated[bool, typer.Option("--open-metrics", help="Ask no token at /metrics.")]


def serve(
    port: Port = 3001,
    host: Host = "127.0.0.1",
    cors: Cors = None,
    allow_host: AllowHost = None,
    no_auth: NoAuth = False,
    open_registration: OpenRegistration = False,
    open_metrics: OpenMetrics = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
) -> None:
    """Serve agents, tasks, memory and jobs over HTTP until Ctrl-C."""
    import anyio

    from perstack.cli.listeners import say
    from perstack.cli.looking import log_as_a_server
    from perstack.config.process_env import process_environment
    from perstack.serving.backend import Place
    from perstack.serving.rest.server import Listening
    from perstack.serving.rest.server import serve as serve_rest

    asked = Listening(
        host=host,
        port=port,
        origins=frozenset(each.strip() for each in (cors or "").split(",") if each.strip()),
        names=frozenset(allow_host or ()),
        no_auth=no_auth,
        open_registration=open_registration,
        open_metrics=open_metrics,
    )
    log_as_a_server(workspace.absolute())
    place = Place(workspace.absolute(), config, trust=trust)
    anyio.run(serve_rest, place, asked, process_environment(), say)


def web_app() -> typer.Typer:
    """Return the `web` commands: other names for `serve`."""
    app = typer.Typer(
        name="web", help="The same as serve.", no_args_is_help=True, rich_markup_mode=None
    )
    app.command(name="start")(serve)
    return app

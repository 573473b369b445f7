"""The `perstack` program: registers commands, maps errors to exit codes."""

from __future__ import annotations

import gc
import io
import os
import sys
from typing import Annotated

import typer

from perstack import __version__
from perstack.cli import options as o
from perstack.cli.consensus import consensus_app
from perstack.cli.demo import demo
from perstack.cli.log import register as register_log
from perstack.cli.run import run
from perstack.cli.start import observe, start
from perstack.errors import PerstackError

_USAGE_EXIT = 2
# What a start makes stays. Looking for garbage after every 700 objects of it takes a tenth longer.
_OBJECTS_BETWEEN_COLLECTIONS = 50_000

app = typer.Typer(
    name="perstack",
    help="Run, watch, gate and resume teams of small LLM agents.",
    rich_markup_mode=None,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Without a command: watch this workspace in the cockpit, starting nothing."""
    if debug:
        os.environ["PERSTACK_DEBUG"] = "1"
    if context.invoked_subcommand is None:
        raise typer.Exit(observe(workspace, config))


app.command(name="run")(run)
app.command(name="start")(start)
app.command(name="demo")(demo)
app.add_typer(consensus_app())
register_log(app)


def main() -> None:
    """Run the program; every failure becomes one sentence, a hint and an exit code."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding shows escapes instead of ending the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except PerstackError as error:
        _explain(error)
        sys.exit(error.exit_code)
    except SystemExit as exit_:
        sys.exit(1 if exit_.code == _USAGE_EXIT else exit_.code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # The last line of defence: a user never sees a traceback.
        if os.environ.get("PERSTACK_DEBUG"):
            raise
        sys.stderr.write(f"Error: internal error: {type(error).__name__}\n")
        sys.stderr.write("Hint: perstack --debug ... shows where; please report it\n")
        sys.exit(1)


def _explain(error: PerstackError) -> None:
    from perstack.projection.inert import inert

    if os.environ.get("PERSTACK_DEBUG"):
        raise error
    sys.stderr.write(f"Error: {inert(error.message)}\n")
    if error.hint:
        sys.stderr.write(f"Hint: {inert(error.hint)}\n")

"""The commands of the `perstack` program."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from perstack import __version__
from perstack.cli import options as o
from perstack.cli.agent import agent_app
from perstack.cli.compare import compare
from perstack.cli.completion import completion, prepare
from perstack.cli.config import config_app
from perstack.cli.consensus import consensus_app
from perstack.cli.create import create
from perstack.cli.demo import demo
from perstack.cli.export import export
from perstack.cli.identity import identity_app
from perstack.cli.init import init
from perstack.cli.install import install
from perstack.cli.jobs import jobs_app
from perstack.cli.late import late, made_when_typed
from perstack.cli.log import register as register_log
from perstack.cli.login import login, logout
from perstack.cli.mcp import mcp_app
from perstack.cli.memory import memory_app
from perstack.cli.plugin import plugin_app
from perstack.cli.publish import publish
from perstack.cli.registry import registry_app
from perstack.cli.registry_looking import info, search, versions
from perstack.cli.review import review_app
from perstack.cli.run import run
from perstack.cli.runtimes import runtimes
from perstack.cli.serve import serve, web_app
from perstack.cli.session import session_app
from perstack.cli.start import open_watching, start
from perstack.cli.status import status
from perstack.cli.tag import tag
from perstack.cli.task import task_app
from perstack.cli.travel import register as register_travel
from perstack.cli.unpublish import unpublish
from perstack.cli.user import user_app
from perstack.cli.watch import watch
from perstack.cli.workflow import workflow_app
from perstack.errors import UsageError
from perstack.log_level import LOG_LEVEL

commands = typer.Typer()
app = typer.Typer(
    cls=made_when_typed(commands),
    name="perstack",
    help="Run, watch, gate and resume teams of small LLM agents.",
    rich_markup_mode=None,
    add_completion=False,
)
# What may fill the terminal, where nothing else may be written.
_SCREENS = frozenset({"start", "demo", "watch"})


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
    observe: Annotated[
        bool, typer.Option("--observe", help="Only watch: start and decide nothing.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Log everything, and say it on stderr.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Log errors alone.")] = False,
) -> None:
    """Without a command: watch this workspace in the cockpit, starting nothing."""
    if debug:
        os.environ["PERSTACK_DEBUG"] = "1"
    if verbose or quiet:
        os.environ[LOG_LEVEL] = "DEBUG" if verbose else "ERROR"
    command = context.invoked_subcommand
    if command is None:
        raise typer.Exit(open_watching(workspace, config, observe=observe))
    _refuse_options_before(command, workspace, config, observe=observe)
    if verbose and command not in _SCREENS:
        from perstack.cli.looking import say_what_is_logged

        say_what_is_logged()


def _refuse_options_before(
    command: str, workspace: Path, config: str | None, *, observe: bool
) -> None:
    """Refuse options for the cockpit in front of a command: it would not hear of them."""
    given = {
        "--workspace": workspace != o.HERE,
        "--config": config is not None,
        "--observe": observe,
    }
    for option in filter(given.get, given):
        raise UsageError(
            f"{option} before {command} would have no effect",
            hint="--observe is for perstack without a command"
            if option == "--observe"
            else f"write it behind the command: perstack {command} ... {option}",
        )


prepare()
commands.command(name="init")(init)
commands.command(name="run")(run)
commands.command(name="start")(start)
commands.command(name="watch")(watch)
commands.command(name="demo")(demo)
commands.command(name="install")(install)
commands.command(name="create")(create)
commands.add_typer(late(agent_app()))
for noun in (memory_app, session_app, identity_app, task_app, review_app, workflow_app, plugin_app):
    commands.add_typer(late(noun()))
commands.add_typer(late(consensus_app()))
commands.add_typer(late(mcp_app()))
commands.add_typer(late(config_app()))
register_log(commands)
commands.add_typer(jobs_app())
register_travel(commands)
commands.command(name="export")(export)
commands.command(name="compare")(compare)
commands.command(name="status")(status)
commands.command(name="runtimes")(runtimes)
for verb in (search, info, versions, publish, tag, unpublish, login, logout):
    commands.command(name=verb.__name__)(verb)
commands.command(name="completion")(completion)
commands.command(name="serve")(serve)
commands.add_typer(late(web_app()))
commands.add_typer(late(user_app()))
commands.add_typer(late(registry_app()))

"""The commands of the `perstack-runtime` program: `run` alone, as a container's entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perstack import __version__
from perstack.cli import options as o
from perstack.cli.run import run_headless
from perstack.config.typed import Overrides

app = typer.Typer(
    name="perstack-runtime",
    help="Run one Expert without a screen.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Run one Expert without a screen; the history is kept in the working folder."""


@app.command()
def run(
    expert_key: Annotated[
        str, typer.Argument(metavar="expertKey", help="The Expert to run.", show_default=False)
    ],
    query: Annotated[str, typer.Argument(metavar="query", help="What to do.")],
    config: o.Config = None,
    provider: o.Provider = None,
    model: o.Model = None,
    reasoning_budget: o.Reasoning = None,
    max_steps: o.MaxSteps = None,
    max_retries: o.MaxRetries = None,
    timeout: o.Timeout = None,
    job_id: o.JobIdOption = None,
    env_path: o.EnvPath = None,
    run_id: Annotated[
        str | None, typer.Option("--run-id", hidden=True, help="Accepted, without effect.")
    ] = None,
    trust: o.TrustOption = False,
    yes: o.YesOption = False,
    verbose: o.Verbose = False,
) -> None:
    """Run an Expert; prints one JSON event a line. Exit codes are those of `perstack run`."""
    asked = o.Asked(
        workspace=o.HERE,
        config=config,
        expert=expert_key,
        query=query,
        job_id=job_id,
        trust=trust,
        yes=yes,
    )
    over = Overrides(
        provider=provider,
        model=model,
        reasoning_budget=reasoning_budget,
        max_steps=max_steps,
        max_retries=max_retries,
        timeout_ms=timeout,
        env_paths=tuple(env_path or ()),
    )
    raise typer.Exit(run_headless(asked, over, full_events=False, no_wait=False))


@app.command(hidden=True)
def contained(
    order: Annotated[Path, typer.Argument(metavar="ORDER", help="A file of the docker runtime.")],
) -> None:
    """Do what the docker runtime ordered, in the container that it made."""
    from perstack.cli.contained import drive_ordered

    raise typer.Exit(drive_ordered(order))

"""`perstack completion`: what a shell needs to complete commands, options and names."""

from __future__ import annotations

import os
from typing import Annotated, Final

import typer

from perstack.cli.completing import one_of

SHELLS: Final = ("bash", "zsh", "fish")
VARIABLE: Final = "_PERSTACK_COMPLETE"

_HOW: Final = {
    "bash": 'eval "$(perstack completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(perstack completion zsh)"   # in ~/.zshrc, behind compinit',
    "fish": "perstack completion fish | source   # in ~/.config/fish/config.fish",
}


def completion(
    shell: Annotated[
        str | None,
        typer.Argument(
            metavar="[SHELL]",
            help="bash, zsh or fish; by default that of $SHELL.",
            autocompletion=one_of(*SHELLS),
        ),
    ] = None,
) -> None:
    """Print a script that completes commands, options and the names of this folder's things."""
    from typer._completion_shared import get_completion_script

    from perstack.errors import UsageError

    named = shell or os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119  a name alone
    if named not in SHELLS:
        raise UsageError(
            f"there is no completion for {named[:40]!a}", hint=f"one of: {', '.join(SHELLS)}"
        )
    typer.echo(f"# {_HOW[named]}")
    typer.echo(get_completion_script(prog_name="perstack", complete_var=VARIABLE, shell=named))


def prepare() -> None:
    """Have a shell that asks what to complete understood."""
    if VARIABLE in os.environ:
        from typer._completion_classes import completion_init

        completion_init()

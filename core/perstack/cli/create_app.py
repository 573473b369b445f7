"""The `create-expert` program: `perstack create` by the name that Perstack gives it."""

from __future__ import annotations

import typer

from perstack.cli.completion import prepare
from perstack.cli.create import create

app = typer.Typer(name="create-expert", rich_markup_mode=None, add_completion=False)

prepare()
app.command(name="create-expert")(create)

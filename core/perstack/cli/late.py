"""Nouns whose commands are made when they are asked for."""

from __future__ import annotations

from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_group


def late(noun: typer.Typer) -> typer.Typer:
    """Return the noun with its commands made when one of them, or their list, is asked for.

    Typer reads the signature of every command to make it. Of all the nouns, only one is meant: to
    make the commands of the others takes as long as everything else of a start. The noun may have
    no options of its own.
    """

    class Late(_LateGroup):
        source = noun

    return typer.Typer(
        cls=Late,
        name=noun.info.name,
        help=noun.info.help,
        no_args_is_help=noun.info.no_args_is_help,
        rich_markup_mode=None,
    )


class _LateGroup(TyperGroup):
    source: ClassVar[typer.Typer]

    def list_commands(self, ctx: Any) -> list[str]:
        self._make()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        self._make()
        return super().get_command(ctx, cmd_name)

    def _make(self) -> None:
        if not self.commands:
            self.commands.update(get_group(self.source).commands)

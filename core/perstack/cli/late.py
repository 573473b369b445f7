"""Commands that are made when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from copy import copy
from functools import partial
from inspect import getdoc
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command_from_info, get_command_name, get_group_from_info
from typer.models import CommandInfo


def made_when_typed(commands: typer.Typer) -> type[TyperGroup]:
    """Return the class of a group with the commands and nouns of `commands`, made when typed.

    Typer reads the signature of every command to make it. Only one is meant: to make all others
    takes as long as everything else of a start. What has no name of its own is left out.
    """

    class Late(_LateGroup):
        source = commands

    return Late


def late(noun: typer.Typer) -> typer.Typer:
    """Return the noun with commands that are made when typed. It may have no options of its own."""
    return typer.Typer(
        cls=made_when_typed(noun),
        name=noun.info.name,
        help=noun.info.help,
        no_args_is_help=noun.info.no_args_is_help,
        rich_markup_mode=None,
    )


class _LateGroup(TyperGroup):
    source: ClassVar[typer.Typer]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands(self.source)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of help, for which no signature has to be read."""
        TyperGroup(commands=_listed(self.source)).format_commands(ctx, formatter)


def _listed(source: typer.Typer) -> dict[str, Any]:
    """Return the commands with their help, in order, the single ones without options."""
    made = _Commands(source)
    for command in source.registered_commands:
        told = copy(command)
        told.help = command.help or getdoc(command.callback)
        told.callback = _nothing
        made[_name_of(command)] = get_command_from_info(
            told, pretty_exceptions_short=True, rich_markup_mode=None
        )
    return dict(made)


def _name_of(command: CommandInfo) -> str:
    return command.name or get_command_name(getattr(command.callback, "__name__", ""))


def _nothing() -> None:
    """Stand in for a command that is only listed."""


class _Commands(MutableMapping[str, Any]):
    """Commands by name, in the order in which they were registered."""

    def __init__(self, source: typer.Typer) -> None:
        self._made: dict[str, Any] = {}
        self._makers: dict[str, partial[Any]] = {}
        for command in source.registered_commands:
            self._makers[_name_of(command)] = partial(get_command_from_info, command)
        for group in source.registered_groups:
            name = group.name or (group.typer_instance and group.typer_instance.info.name)
            self._makers[str(name)] = partial(get_group_from_info, group, suggest_commands=True)

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            make = self._makers[name]
            self._made[name] = make(pretty_exceptions_short=True, rich_markup_mode=None)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._makers, *self._made)))

    def __len__(self) -> int:
        return len(self._makers.keys() | self._made.keys())

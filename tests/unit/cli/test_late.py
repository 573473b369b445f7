"""Commands are made when they are typed; until then only their names are known."""

from __future__ import annotations

import typer
from typer.testing import CliRunner, Result

from perstack.cli.app import app
from perstack.cli.late import late, made_when_typed


def sound() -> None:
    """Say it."""
    typer.echo("sound")


def unmakeable(what: int | str) -> None:
    """Have a signature that no command can be made of."""


def typed(*words: str) -> Result:
    noun = typer.Typer(name="noun", help="A noun.")
    noun.command()(sound)
    noun.command(name="odd")(unmakeable)
    commands = typer.Typer()
    commands.command(name="odd")(unmakeable)
    commands.command()(sound)
    commands.add_typer(late(noun))
    made = typer.Typer(cls=made_when_typed(commands), rich_markup_mode=None)
    made.callback()(lambda: None)
    return CliRunner().invoke(made, words)


def test_one_command_is_made_without_the_others() -> None:
    assert typed("sound").stdout == "sound\n"
    assert typed("noun", "sound").stdout == "sound\n"
    assert isinstance(typed("odd").exception, AssertionError)
    assert isinstance(typed("noun", "odd").exception, AssertionError)


def test_a_misspelt_command_is_told_the_nearest_name_and_none_is_made() -> None:
    refused = typed("sund")
    assert refused.exit_code == 2
    assert "Did you mean 'sound'?" in refused.stderr
    assert "Did you mean 'sound'?" in typed("noun", "sond").stderr


def test_the_list_of_commands_keeps_the_order_in_which_they_were_named() -> None:
    listed = CliRunner().invoke(app, ["--help"]).stdout
    names = ("init", "run", "serve", "agent", "registry")
    places = [listed.index(f"\n  {name} ") for name in names]
    assert places == sorted(places)


def test_help_lists_what_commands_do_without_reading_their_signatures() -> None:
    for words in (("--help",), ("noun", "--help")):
        listed = typed(*words)
        assert listed.exit_code == 0
        assert "  odd    Have a signature that no command can be made of." in listed.stdout
        assert "  sound  Say it." in listed.stdout

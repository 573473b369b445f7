"""`perstack agent run` and `exec`: an agent is given work, and answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from perstack.cli import agent_options as a
from perstack.cli import options as o

if TYPE_CHECKING:
    from perstack.config.typed import Overrides

Prompt = Annotated[
    str, typer.Option("-p", "--prompt", metavar="TEXT", help="What to do; @FILE reads it.")
]
Context = Annotated[
    str | None,
    typer.Option("--context", metavar="TEXT", help="What stands before it; @FILE reads it."),
]

_MOST_BYTES: Final = 4_000_000  # a million characters, which is what a prompt may have


def run(
    type_: a.Type,
    prompt: Prompt,
    name: a.NewName = None,
    session: a.Session = None,
    context: Context = None,
    provider: o.Provider = None,
    model: o.Model = None,
    max_steps: o.MaxSteps = None,
    show_prompt: a.ShowPrompt = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    yes: o.YesOption = False,
    as_json: a.Json = False,
) -> None:
    """Spawn an agent and give it work. It stays, with its conversation, until it is stopped.

    Exit codes: 0 completed or a question waits, 1 failed, 4 refused, 5 storage, 6 a limit was
    reached, 129/130/143 stopped by a signal.
    """
    from perstack.cli.agent_driving import Job, Spawn, drive
    from perstack.domain.ids import SessionId

    work = Job(
        a.Place(workspace, config, trust, yes),
        Spawn(type_, name, SessionId(session) if session else None),
        prompt=text_of(prompt, "File"),
        context=None if context is None else text_of(context, "Context file"),
        over=overrides(provider, model, max_steps),
        show_prompt=show_prompt,
        as_json=as_json,
    )
    raise typer.Exit(drive(work))


def exec_(
    prompt: Prompt,
    agent_id: a.Id = None,
    name: a.Name = None,
    answer: Annotated[
        bool, typer.Option("--answer", help="The prompt answers what the agent asked.")
    ] = False,
    context: Context = None,
    provider: o.Provider = None,
    model: o.Model = None,
    max_steps: o.MaxSteps = None,
    show_prompt: a.ShowPrompt = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    yes: o.YesOption = False,
    as_json: a.Json = False,
) -> None:
    """Give an agent work that is there already; it goes on with its conversation.

    Exit codes: as agent run.
    """
    from perstack.cli.agent_driving import Job, drive

    work = Job(
        a.Place(workspace, config, trust, yes),
        a.Named.of(agent_id, name),
        prompt=text_of(prompt, "File"),
        context=None if context is None else text_of(context, "Context file"),
        over=overrides(provider, model, max_steps),
        is_answer=answer,
        show_prompt=show_prompt,
        as_json=as_json,
    )
    raise typer.Exit(drive(work))


def overrides(provider: str | None, model: str | None, max_steps: int | None) -> Overrides:
    """Return what was typed in place of what the configuration says."""
    from perstack.config.typed import Overrides

    return Overrides(provider=provider, model=model, max_steps=max_steps)


def text_of(given: str, what: str) -> str:
    """Return what was typed, or what is in the file that `@FILE` names.

    Raises:
        UsageError: there is no such file, or it holds no text, or too much of it.
    """
    from perstack.errors import UsageError

    if not given.startswith("@"):
        return given
    path = Path(given[1:])
    try:
        with path.open("rb") as file:
            read = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(f"{what} not found: {given[1:]}") from error
    except OSError as error:
        raise UsageError(f"{what} cannot be read: {given[1:]}: {error.strerror}") from error
    if len(read) > _MOST_BYTES:
        raise UsageError(f"{what} is larger than {_MOST_BYTES:,} bytes: {given[1:]}")
    try:
        return read.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} is no UTF-8 text: {given[1:]}") from error

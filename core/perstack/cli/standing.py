"""`perstack consensus standing`: what was approved for the rest of a job, and taking it back."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from perstack.domain.standing import StandingApproval
    from perstack.services.standing import StandingApprovals

T = TypeVar("T")

Workspace = Annotated[
    Path, typer.Option("--workspace", metavar="DIR", help="The folder whose runs are meant.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_HERE = Path()
_WHAT_CHARACTERS = 60


def standing_app() -> typer.Typer:
    """Return the `consensus standing` commands."""
    app = typer.Typer(
        name="standing",
        help="Exact tool calls that were approved for the rest of their job.",
        invoke_without_command=True,
        rich_markup_mode=None,
    )

    @app.callback()
    def without_command(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            list_()

    app.command(name="list")(list_)
    app.command(name="revoke")(revoke)
    return app


def list_(
    workspace: Workspace = _HERE,
    everything: Annotated[bool, typer.Option("--all", help="Also those taken back.")] = False,
    as_json: Json = False,
) -> None:
    """List what needs no decision any more, and who said so."""
    from perstack.wiring import has_database

    async def ask(service: StandingApprovals) -> list[StandingApproval]:
        return list(await service.list_standing())

    _check_folder(workspace)
    found = _with_service(workspace, ask) if has_database(workspace) else []
    shown = [one for one in found if everything or not one.is_revoked]
    if as_json:
        # ASCII only, so that nothing in it can act on a terminal.
        rows = [one.model_dump(exclude_none=True) for one in shown]
        typer.echo(json.dumps(rows, ensure_ascii=True, indent=2))
        return
    if not shown:
        typer.echo("Nothing was approved for the rest of a job.")
    for one in shown:
        _print(one)
    if any(not one.is_revoked for one in shown):
        typer.echo("\nTo take one back: perstack consensus standing revoke ID")


def revoke(
    standing_id: Annotated[
        str, typer.Argument(metavar="ID", help="The standing approval's id, as the list has it.")
    ],
    workspace: Workspace = _HERE,
) -> None:
    """Take a standing approval back: such calls wait again from the next one on."""
    from perstack.domain.ids import StandingId
    from perstack.errors import NotFoundError
    from perstack.wiring import has_database

    async def ask(service: StandingApprovals) -> StandingApproval:
        from perstack.services.whoami import whoami

        return await service.revoke_standing(StandingId(standing_id), by=whoami())

    _check_folder(workspace)
    if not has_database(workspace):
        raise NotFoundError(f"no standing approval {standing_id[:60]!a}: nothing ever waited here")
    done = _with_service(workspace, ask)
    typer.echo(f"Revoked {done.id}: such calls wait again.")


def _print(one: StandingApproval) -> None:
    from perstack.projection.inert import inert

    state = f", revoked by {one.revoked_by}" if one.is_revoked else ""
    call = f"{one.tool_name} {one.arguments}"
    shown = call if len(call) <= _WHAT_CHARACTERS else call[: _WHAT_CHARACTERS - 1] + "…"
    whose = f"{one.skill_name} of {one.expert_key}"
    line = f"{one.id}  job {one.job_id}  {whose}  by {one.approved_by}{state}  {shown}"
    typer.echo(inert(line, newlines=False))


def _check_folder(workspace: Path) -> None:
    from perstack.errors import UsageError

    if not workspace.is_dir():
        raise UsageError(f"there is no folder {str(workspace)!a}", hint="check --workspace")


def _with_service(workspace: Path, ask: Callable[[StandingApprovals], Awaitable[T]]) -> T:
    import anyio

    async def run() -> T:
        from perstack.wiring import open_tables, standing_over

        tables = open_tables(workspace.absolute())
        try:
            return await ask(standing_over(tables))
        finally:
            await tables.aclose()

    return anyio.run(run)

"""`perstack consensus`: what waits for a decision, and deciding it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from perstack.cli import completing as c
from perstack.cli.standing import standing_app

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint, ProposedSubtask
    from perstack.ports.consensus import AuditEntry
    from perstack.services.consensus import ConsensusService

T = TypeVar("T")

Id = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The checkpoint's id, or its first characters.",
        autocompletion=c.checkpoints,
    ),
]
Workspace = Annotated[
    Path, typer.Option("--workspace", metavar="DIR", help="The folder whose runs are meant.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Feedback = Annotated[
    str | None, typer.Option("--feedback", metavar="TEXT", help="Words that the model is given.")
]

HERE = Path()
_WHAT_CHARACTERS = 48


def consensus_app() -> typer.Typer:
    """Return the `consensus` commands."""
    app = typer.Typer(
        name="consensus",
        help="Show and decide what waits for a person.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for command in (list_, show, approve, reject, answer):
        app.command(name=command.__name__.rstrip("_"))(command)
    app.add_typer(standing_app())
    return app


def list_(
    workspace: Workspace = HERE,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what was decided or has expired.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List what waits for a decision."""
    from perstack.wiring import has_database

    async def ask(service: ConsensusService) -> list[ConsensusCheckpoint]:
        return list(await service.list(statuses=() if everything else ("pending",)))

    _check_folder(workspace)
    found = _with_service(workspace, ask) if has_database(workspace) else []
    if as_json:
        _print_json([_as_json(one) for one in found])
    else:
        _print_list(found, everything=everything)


def show(consensus_id: Id, workspace: Workspace = HERE, as_json: Json = False) -> None:
    """Show one checkpoint whole: why it waits, each subtask's input, what happened to it."""

    async def ask(service: ConsensusService) -> tuple[ConsensusCheckpoint, list[AuditEntry]]:
        found = await service.find(consensus_id)
        return await service.show(found), list(await service.audit(found))

    checkpoint, audit = _ask_about(consensus_id, workspace, ask)
    if as_json:
        _print_json(_as_json(checkpoint) | {"audit": [_entry_json(entry) for entry in audit]})
    else:
        _print_checkpoint(checkpoint, audit)


def approve(
    consensus_id: Id,
    workspace: Workspace = HERE,
    feedback: Feedback = None,
    reject_subtask: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="A subtask to leave out; may be given again."),
    ] = None,
    standing: Annotated[
        bool,
        typer.Option(
            "--standing", help="Exactly these tool calls need no decision any more in this job."
        ),
    ] = False,
) -> None:
    """Approve a checkpoint: the run that waits goes on, or the tasks that are kept are made."""
    decided = _decide(
        consensus_id,
        workspace,
        feedback,
        approved=True,
        but=reject_subtask or [],
        standing=standing,
    )
    kept, of = _kept(decided)
    typer.echo(f"Approved {decided.id}: {f'all {of}' if kept == of else f'{kept} of {of}'} kept.")
    _say_if_nobody_goes_on(decided, workspace)


def reject(consensus_id: Id, workspace: Workspace = HERE, feedback: Feedback = None) -> None:
    """Reject a checkpoint whole: the model is told, with your words."""
    decided = _decide(consensus_id, workspace, feedback, approved=False, but=[])
    typer.echo(f"Rejected {decided.id}.")
    _say_if_nobody_goes_on(decided, workspace)


def answer(
    consensus_id: Id,
    text: Annotated[
        str,
        typer.Argument(
            metavar="ANSWER", help="A JSON object with the fields, or the only field's value."
        ),
    ],
    workspace: Workspace = HERE,
) -> None:
    """Answer what a tool server asks; `show` lists the fields, `reject` declines to answer."""

    async def ask(service: ConsensusService) -> ConsensusCheckpoint:
        return await service.answer(await service.find(consensus_id), text)

    typer.echo(f"Answered {_ask_about(consensus_id, workspace, ask).id}.")


def _say_if_nobody_goes_on(decided: ConsensusCheckpoint, workspace: Path) -> None:
    """Say what to type when no process waits for the decision."""
    import shlex

    import anyio

    from perstack.config.typed import Overrides
    from perstack.errors import NotFoundError
    from perstack.runtime import open_history
    from perstack.services.staying import begun_on

    if decided.job_id is None:
        for task in decided.approved_subtasks:
            typer.echo(f"Task {task.id} was made.")
        return
    history = open_history(workspace)
    try:
        seen = anyio.run(history.look_at_job, decided.job_id)
    except NotFoundError:
        return
    if not seen.alive:
        again = ["perstack", "run", seen.job.coordinator_expert_key, "--continue-job", seen.job.id]
        if (begun := anyio.run(begun_on, history, seen.job)) is not None:
            again += Overrides(
                runtime=begun.name if begun.typed else None, pass_env=begun.env
            ).as_arguments()
        again += ["--workspace", str(workspace)] if workspace != HERE else []
        typer.echo(f"No process runs the job. Go on with: {shlex.join(again)}")


def _decide(
    consensus_id: str,
    workspace: Path,
    feedback: str | None,
    *,
    approved: bool,
    but: list[str],
    standing: bool = False,
) -> ConsensusCheckpoint:
    from perstack.domain.ids import SubtaskId

    async def ask(service: ConsensusService) -> ConsensusCheckpoint:
        return await service.decide(
            await service.find(consensus_id),
            approved=approved,
            rejected_subtask_ids=[SubtaskId(one) for one in but],
            feedback=feedback,
            standing=standing,
        )

    return _ask_about(consensus_id, workspace, ask)


def _ask_about(
    consensus_id: str, workspace: Path, ask: Callable[[ConsensusService], Awaitable[T]]
) -> T:
    from perstack.errors import NotFoundError
    from perstack.wiring import has_database

    _check_folder(workspace)
    if not has_database(workspace):
        raise NotFoundError(
            f"no consensus checkpoint {consensus_id[:40]!a}: nothing ever waited in this folder",
            hint="name the folder that the run works in with --workspace",
        )
    return _with_service(workspace, ask)


def _check_folder(workspace: Path) -> None:
    from perstack.errors import UsageError

    if not workspace.is_dir():
        raise UsageError(f"there is no folder {str(workspace)!a}", hint="check --workspace")


def _with_service(workspace: Path, ask: Callable[[ConsensusService], Awaitable[T]]) -> T:
    import anyio

    async def run() -> T:
        async with _open(workspace.absolute()) as service:
            return await ask(service)

    return anyio.run(run)


@asynccontextmanager
async def _open(workspace: Path) -> AsyncGenerator[ConsensusService]:
    from perstack.runtime import open_consensus

    service = open_consensus(workspace)
    try:
        yield service
    finally:
        await service.aclose()


def _kept(checkpoint: ConsensusCheckpoint) -> tuple[int, int]:
    of = len(checkpoint.proposed_subtasks)
    return of - len(checkpoint.decision.rejected_subtask_ids if checkpoint.decision else ()), of


# ------------------------------------------------------------------ printing


def _print_json(value: object) -> None:
    # ASCII only, so that nothing in it can act on a terminal.
    typer.echo(json.dumps(value, ensure_ascii=True, indent=2))


def _as_json(checkpoint: ConsensusCheckpoint) -> dict[str, object]:
    return dict(checkpoint.model_dump(exclude_none=True))


def _entry_json(entry: AuditEntry) -> dict[str, object]:
    return {
        "event": entry.event,
        "actor": entry.actor,
        "actorType": entry.actor_type,
        "at": entry.at,
        "details": dict(entry.details),
    }


def _print_list(found: list[ConsensusCheckpoint], *, everything: bool) -> None:
    if not found:
        typer.echo("No consensus checkpoints." if everything else "Nothing waits for a decision.")
        return
    now = _now_ms()
    rows = [
        (one.id, one.risk_level, _state(one, now), one.expert_key, _what(one), one.reason)
        for one in found
    ]
    _print_table([("ID", "RISK", "STATE", "EXPERT", "WHAT", "REASON"), *rows])
    if any(one.status == "pending" for one in found):
        typer.echo(f"\nTo decide: perstack consensus show|{_verbs(found)} ID")


def _what(checkpoint: ConsensusCheckpoint) -> str:
    """Return what would happen, or does: `deleteFile x.txt`, `devops: deploy (+1, 2 left out)`."""
    from perstack.projection.cutting import one_line
    from perstack.projection.gates import is_tool_call, subtask_phrase

    if not checkpoint.proposed_subtasks:
        return "-"
    first, *others = _running(checkpoint)
    said = subtask_phrase(first, _WHAT_CHARACTERS)
    if not is_tool_call(first):
        said = one_line(f"{first.agent_type}: {said}", _WHAT_CHARACTERS)
    left_out = len(checkpoint.proposed_subtasks) - len(others) - 1
    more = [f"+{len(others)}"] if others else []
    more += [f"{left_out} left out"] if left_out else []
    return f"{said} ({', '.join(more)})" if more else said


def _running(checkpoint: ConsensusCheckpoint) -> list[ProposedSubtask]:
    """Return the subtasks that were not left out, of what was rejected in whole all."""
    decision, tasks = checkpoint.decision, list(checkpoint.proposed_subtasks)
    dropped = decision.rejected_subtask_ids if decision and decision.approved else ()
    return [task for task in tasks if task.id not in dropped] or tasks


def _verbs(found: list[ConsensusCheckpoint]) -> str:
    asks = any(one.status == "pending" and one.form is not None for one in found)
    return "approve|reject|answer" if asks else "approve|reject"


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    from perstack.projection.inert import inert

    shown = [[inert(cell, newlines=False) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*shown, strict=True)]
    for row in shown:
        typer.echo("  ".join(map(str.ljust, row, widths)).rstrip())


def _print_checkpoint(checkpoint: ConsensusCheckpoint, audit: list[AuditEntry]) -> None:
    from perstack.projection.gates import review_phrase, subtask_name, subtask_text

    _line(f"Consensus checkpoint {checkpoint.id}")
    _line(f"  State     {_state(checkpoint, _now_ms())}")
    _line(f"  Risk      {checkpoint.risk_level}")
    _line(f"  Reason    {checkpoint.reason}")
    whose = f", run {checkpoint.run_id}, job {checkpoint.job_id}" if checkpoint.run_id else ""
    _line(f"  Asked by  {checkpoint.expert_key}{whose}")
    if said := review_phrase(checkpoint):
        _line(f"  Review    {said}")
    rejected = checkpoint.decision.rejected_subtask_ids if checkpoint.decision else ()
    for one in checkpoint.proposed_subtasks:
        typer.echo()
        mark = ", rejected" if one.id in rejected else ""
        _line(f"Subtask {one.id}: {subtask_name(one)}, risk {one.estimated_risk_level}{mark}")
        _print_block(subtask_text(one))
    typer.echo("\nWhat happened")
    for entry in audit:
        _line(f"  {_clock_time(entry.at)}  {entry.event} by {entry.actor}{_details(entry)}")
    if checkpoint.status != "pending":
        return
    typer.echo()
    if checkpoint.form is None:
        typer.echo(f"To decide: perstack consensus approve|reject {checkpoint.id}")
    else:
        typer.echo(f"To answer: perstack consensus answer {checkpoint.id} ANSWER")
        typer.echo(f"To decline: perstack consensus reject {checkpoint.id}")


def _line(text: str) -> None:
    from perstack.projection.inert import inert

    typer.echo(inert(text, newlines=False))


def _print_block(text: str) -> None:
    from perstack.projection.inert import inert

    for line in inert(text).split("\n"):
        typer.echo(f"    {line}".rstrip())


def _details(entry: AuditEntry) -> str:
    words = [str(value) for value in entry.details.values() if isinstance(value, str)]
    return f": {', '.join(words)}" if words and entry.event != "created" else ""


def _state(checkpoint: ConsensusCheckpoint, now_ms: int) -> str:
    if checkpoint.status == "pending":
        return _left(checkpoint.expires_at, now_ms)
    if checkpoint.decision is None:
        return checkpoint.status
    return f"{checkpoint.status} by {checkpoint.decision.reviewed_by}"


def _left(expires_at: int | None, now_ms: int) -> str:
    if expires_at is None:
        return "pending"
    seconds = (expires_at - now_ms) // 1000
    if seconds < 0:
        return "expired"
    minutes, seconds = divmod(seconds, 60)
    return f"pending, {minutes} min {seconds} s left" if minutes else f"pending, {seconds} s left"


def _clock_time(at_ms: int) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))


def _now_ms() -> int:
    from perstack.ports.system import SystemClock

    return SystemClock().now_ms()

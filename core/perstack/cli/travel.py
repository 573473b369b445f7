"""`perstack diff`, `restore` and `fork`: between checkpoints, and on from one."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import completing as c
from perstack.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from perstack.domain.expert import Expert
    from perstack.domain.ids import ExpertKey, JobId
    from perstack.domain.jobs import Job
    from perstack.domain.settings import SnapshotSettings
    from perstack.domain.travel import Comparison, FileChange, Moment, RestorePlan
    from perstack.project import Project
    from perstack.services.restoring import Restorer
    from perstack.services.travel import TravelService

HERE = Path()
Checkpoint = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint's id, of any job of the folder.")
]
JobOption = Annotated[
    str | None,
    typer.Option(
        "--job",
        metavar="ID",
        help="The job that has the checkpoint.",
        autocompletion=c.jobs,
    ),
]
Workspace = Annotated[
    Path, typer.Option("--workspace", metavar="DIR", help="The folder whose jobs are meant.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command(name="diff")(diff)
    app.command(name="restore")(restore)
    app.command(name="fork")(fork)


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="The earlier checkpoint.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The later one, of any job.")],
    path: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH]...", help="Show how these files differ.")
    ] = None,
    workspace: Workspace = HERE,
    as_json: Json = False,
) -> None:
    """Compare two checkpoints: files, messages, tokens and cost."""
    import anyio

    async def work() -> None:
        past = _past(workspace)
        one, other = await past.find(before), await past.find(after)
        if path:
            diffs = {each: list(await past.file_diff(one, other, each)) for each in path}
            _print([json.dumps(diffs)] if as_json else list(_diff_lines(diffs)))
            return
        found = await past.compare(one, other)
        _print([json.dumps(_comparison(found))] if as_json else list(_comparison_lines(found)))

    anyio.run(work)


def restore(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT", help="A checkpoint, or what `restore` called the files before."
        ),
    ],
    path: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]...", help="Only these, though they changed since."),
    ] = None,
    job: JobOption = None,
    workspace: Workspace = HERE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: Json = False,
) -> None:
    """Put the files back as they were. What was changed since the newest snapshot stays."""
    import anyio

    async def work() -> None:
        from perstack.errors import NotFoundError
        from perstack.ports.system import RandomIds
        from perstack.services.restoring import Restorer

        past = _past(workspace)
        restorer = Restorer(past, ids=RandomIds(), today=partial(_left_out, workspace))
        moment: Moment | None = None
        try:
            moment = await past.find(checkpoint, await _job(past, job))
        except NotFoundError:
            # It may be what an earlier `restore` named what was there.
            if job is not None:
                raise
        plan, before = await _restored(
            restorer, moment or checkpoint, only=path or (), dry_run=dry_run
        )
        _say_restored(plan, before, as_json=as_json)

    anyio.run(work)


def fork(
    checkpoint: Checkpoint,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="DIR", help="The folder to make; NAME-fork-ID beside it."),
    ] = None,
    same_files: Annotated[
        bool, typer.Option("--same-files", help="Copy no files: work in the job's own folder.")
    ] = False,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="Say this, and go on at once.")
    ] = None,
    newest: Annotated[
        bool, typer.Option("--newest-definition", help="With the Experts as defined now.")
    ] = False,
    job: JobOption = None,
    config: o.Config = None,
    trust: o.TrustOption = False,
    yes: o.YesOption = False,
    workspace: Workspace = HERE,
    as_json: Json = False,
) -> None:
    """Make a new job of a checkpoint, in a copy of its files. Nothing is overwritten."""
    import anyio

    from perstack.domain.travel import ForkWish

    asked = o.Asked(workspace, config, None, text, trust=trust, yes=yes, own_definitions=not newest)
    wish = ForkWish(
        text=text,
        copy_files=not same_files,
        workspace=into.absolute() if into is not None else None,
        newest_definition=newest,
    )

    async def work() -> Job:
        from anyio import to_thread

        from perstack.ports.system import RandomIds, SystemClock
        from perstack.services.forking import Forker

        past = _past(workspace)
        moment = await past.find(checkpoint, await _job(past, job))
        forker = Forker(past, clock=SystemClock(), ids=RandomIds())
        defined: Mapping[ExpertKey, Expert] = {}
        if newest:
            project = await to_thread.run_sync(_project, asked)
            begun = await past.history.get_job(moment.job_id)
            defined = await _defined(project, begun, yes=yes)
        return await forker.fork(moment, wish, defined)

    made = anyio.run(work)
    if text is None:
        _say_forked(made, workspace, as_json=as_json)
        return
    asked = replace(asked, expert=made.coordinator_expert_key, continue_job=made.id)
    raise typer.Exit(_go_on(asked))


async def _restored(
    restorer: Restorer, wanted: Moment | str, *, only: Sequence[str], dry_run: bool
) -> tuple[RestorePlan, str | None]:
    """Restore a moment or what was there before, or plan to; also return the name of the latter."""
    if isinstance(wanted, str):
        if dry_run:
            return await restorer.plan_again(wanted, only=only), None
        done = await restorer.again(wanted, only=only)
    elif dry_run:
        return await restorer.plan(wanted, only=only), None
    else:
        done = await restorer.restore(wanted, only=only)
    return done.plan, done.before


async def _left_out(workspace: Path) -> SnapshotSettings | None:
    """Return what snapshots of the folder leave out by its configuration, None without a usable."""
    from anyio import to_thread

    from perstack.errors import ConfigError
    from perstack.project import open_project

    try:
        return await to_thread.run_sync(lambda: open_project(workspace, None).snapshots)
    except ConfigError:
        return None  # it may be what is to be put back


def _past(workspace: Path) -> TravelService:
    from perstack.cli.looking import history_of, snapshots_of
    from perstack.services.travel import TravelService

    return TravelService(history_of(workspace), snapshots_of(workspace), workspace)


async def _job(past: TravelService, job: str | None) -> JobId | None:
    from perstack.services.looking import find_job

    return await find_job(past.history, job) if job is not None else None


async def _defined(project: Project, job: Job, *, yes: bool) -> Mapping[ExpertKey, Expert]:
    """Return the Experts as they are defined now, and those of the registry for the job."""
    from perstack.cli.registry_experts import complete

    return (await complete(project, [job.coordinator_expert_key], yes=yes)).experts


def _project(asked: o.Asked) -> Project:
    from perstack.project import open_project

    project = open_project(asked.workspace, asked.config, trust=asked.trust, or_empty=True)
    project.admit(project.config.experts)
    return project


def _go_on(asked: o.Asked) -> int:
    from perstack.cli.run import run_headless
    from perstack.config.typed import Overrides

    return run_headless(asked, Overrides(), full_events=False, no_wait=False)


# -------------------------------------------------------------------- printing


def _diff_lines(diffs: Mapping[str, Sequence[str]]) -> Iterator[str]:
    from perstack.projection.inert import inert

    for path, lines in diffs.items():
        yield f"--- {inert(path, newlines=False)}"
        for line in lines:
            yield inert(line, newlines=False)


def _print(lines: Sequence[str]) -> None:
    """Print lines, none of which can act on a terminal: files and models wrote parts of them."""
    from perstack.cli.printing import print_lines
    from perstack.projection.inert import inert

    print_lines(inert(line, newlines=False) for line in lines)


def _comparison(found: Comparison) -> dict[str, object]:
    return {
        "before": asdict(found.before),
        "after": asdict(found.after),
        "messages": [{"kind": each.kind, "title": each.title} for each in found.messages],
        "unlike": found.unlike,
        "files": None if found.files is None else [asdict(each) for each in found.files],
        "tokens": found.tokens,
        "usd": found.usd,
    }


def _comparison_lines(found: Comparison) -> list[str]:
    lines = [f"{found.tokens:+,} tokens, {found.usd:+.4f} USD"]
    if found.unlike:
        lines.append(f"{found.unlike} messages of the first are not in the second")
    lines += [f"+ {each.kind:<11} {each.title}" for each in found.messages]
    if found.files is None:
        return [*lines, "files: no snapshot was taken at one of them"]
    return [*lines, *(_change(each) for each in found.files)]


def _change(change: FileChange) -> str:
    sign = {"added": "A", "removed": "D", "modified": "M"}[change.change]
    known = change.added is not None and change.removed is not None
    counted = f"  +{change.added} -{change.removed}" if known else ""
    return f"{sign} {change.path}{counted}{'  changed since' if change.on_disk else ''}"


def _say_restored(plan: RestorePlan, before: str | None, *, as_json: bool) -> None:
    if as_json:
        _print([json.dumps({**asdict(plan), "before": before})])
        return
    groups = (
        ("write" if before is None else "wrote", plan.written),
        ("remove" if before is None else "removed", plan.removed),
        ("kept, changed since or not stored", plan.kept),
        ("not stored", plan.missing),
    )
    lines = [f"{word}: {path}" for word, paths in groups for path in paths]
    if before is not None:
        lines.append(f"as it was before: perstack restore {before}")
    _print(lines if lines else ["Nothing differs."])


def _say_forked(made: Job, workspace: Path, *, as_json: bool) -> None:
    folder = made.workspace or str(workspace.absolute())
    if as_json:
        _print([json.dumps({"job": made.id, "workspace": folder})])
        return
    again = f'perstack run {made.coordinator_expert_key} "…" --continue-job {made.id}'
    _print([f"job {made.id} in {folder}", f"go on with: {again} --own-definitions"])

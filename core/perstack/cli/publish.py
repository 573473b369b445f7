"""`perstack publish`: send an Expert to the registry, for others to run by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import completing as c
from perstack.cli import options as o
from perstack.cli import registry_asking as r

if TYPE_CHECKING:
    from perstack.domain.expert import Expert
    from perstack.ports.registry import Registry
    from perstack.project import Project
    from perstack.services.publishing import Draft, Lead

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[EXPERT]", help="An Expert of perstack.toml.", autocompletion=c.own_experts
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def publish(
    expert: Name = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: r.Trust = False,
) -> None:
    """Publish a version of an Expert, which then never changes.

    Without EXPERT: the only one of the file, or at a terminal the one that is chosen.

    Exit codes: 0, also where it is cancelled; 1 it cannot be published, or the registry refuses.
    """
    from perstack.cli.prompting import cancellable

    with cancellable(asks=not yes):
        if dry_run:
            _try_out(_project(workspace, config), expert)
            return
        asking = r.Asking.of(workspace, config, trust=trust, or_empty=False)
        if expert is None:
            asking.needs_key()  # before anything is asked
        draft = _draft(asking.project, expert)
        asking.needs_key()
        _offer(draft, asking)
        if not yes:
            _confirm()
    # Outside: once it is sent, nothing is cancelled.
    r.print_shown(f"Published {asking.ask(lambda registry: _sent(registry, draft))}")


async def _sent(registry: Registry, draft: Draft) -> str:
    from perstack.services.publishing import publish as send

    return (await send(registry, draft)).key


def _project(workspace: Path, config: str | None) -> Project:
    from perstack.project import open_project

    r.check_folder(workspace)
    return open_project(workspace, config)


def _try_out(project: Project, name: str | None) -> None:
    """Print what would be published. Nothing is asked of the registry."""
    draft = _draft(project, name)
    r.print_shown("Dry run - would publish:")
    r.print_json(r.json_of(draft.request))


def _draft(project: Project, name: str | None) -> Draft:
    """Return what would be published, and say what of it would be left out."""
    from perstack.cli.listeners import say
    from perstack.services.publishing import draft_of

    expert = _expert(project, name)
    for warning in project.config.warnings:
        say(f"Warning: {warning.with_hint()}")
    draft = draft_of(expert, project.env)
    for left_out in draft.left_out:
        say(f"Warning: {draft.key} is published without {left_out}")
    return draft


def _expert(project: Project, name: str | None) -> Expert:
    """Return the Expert that is meant.

    Raises:
        UsageError: none has the name, or it is not clear which is meant.
    """
    from perstack.cli.prompting import choose, is_terminal
    from perstack.domain.ids import ExpertKey
    from perstack.errors import CORE_TYPE_NAMES, UnknownExpertError, UsageError
    from perstack.projection.cutting import one_line

    experts = project.config.experts
    if name is None and len(experts) == 1:
        return next(iter(experts.values()))
    if not experts:
        raise UsageError(
            f"{project.config.shown_source} defines no Expert", hint="write an [experts.NAME] table"
        )
    if name is None and not is_terminal():
        raise UsageError(
            "it is not clear which Expert is meant",
            hint=f"perstack publish {next(iter(experts))}; there are: {', '.join(experts)}",
        )
    if name is None:
        rows = [
            (key, expert.version, one_line(expert.description or "", 40))
            for key, expert in experts.items()
        ]
        name = choose("Which Expert?", rows, heading=("EXPERT", "VERSION", "DESCRIPTION"))
    if (found := experts.get(ExpertKey(name))) is None:
        if name in CORE_TYPE_NAMES:
            raise UsageError(
                f"{name} is built in: everybody has it, and there is nothing to publish",
                hint=f"yours are: {', '.join(experts) or 'none'}",
            )
        raise UnknownExpertError(name, [*map(str, experts)])
    return found


def _offer(draft: Draft, asking: r.Asking) -> None:
    """Say what will be sent, and what its delegates lead to.

    Raises:
        UsageError: a delegate is not in the registry.
    """
    from perstack.cli.listeners import say
    from perstack.projection.wrapping import wrapped
    from perstack.services.publishing import leads_of, replaced

    local = asking.project.config.experts
    leads = asking.ask(lambda registry: leads_of(registry, draft, local))
    for line in wrapped(_offer_lines(draft, leads, asking.place.url)):
        say(line)
    for warning in (*_doubts(leads), *_misled(replaced(draft, local))):
        say(f"Warning: {warning}")


def _offer_lines(draft: Draft, leads: Sequence[Lead], url: str) -> Iterator[str]:
    from perstack.projection.expert_card import skills_lines
    from perstack.projection.table_text import field

    sent = draft.request
    yield f"To {url}, for everybody there:"
    yield field("Key", sent.key)
    if sent.description:
        yield field("Description", " ".join(sent.description.split()))
    led = {lead.delegate: f"{lead.delegate} ({lead.key} of {lead.owner})" for lead in leads}
    yield field("Delegates", ", ".join(led.get(key, key) for key in sent.delegates) or "none")
    yield field("Instruction", f"{len(sent.instruction):,} characters")
    yield field("Size", f"{draft.size:,} bytes")
    yield from skills_lines(sent.skills)


def _doubts(leads: Sequence[Lead]) -> Iterator[str]:
    for lead in leads:
        if lead.differs:
            yield (
                f"{lead.key} of the registry is not what perstack.toml defines as "
                f"{lead.delegate}: perstack publish {lead.delegate}"
            )
        if lead.status != "available":
            yield f"its delegate {lead.key} is {lead.status}"


def _misled(delegates: Sequence[str]) -> Iterator[str]:
    for delegate in delegates:
        yield f"elsewhere {delegate} is the built-in Expert, not that of perstack.toml"


def _confirm() -> None:
    """Ask, where somebody can be asked.

    Raises:
        CancelledError: the answer is no.
    """
    from perstack.cli.prompting import CancelledError, confirm, is_terminal

    if is_terminal() and not confirm("Publish it?"):
        raise CancelledError

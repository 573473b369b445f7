"""`perstack identity`: who agents are from one spawn to the next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from perstack.cli import agent_options as a
from perstack.cli import options as o
from perstack.cli import services as s

if TYPE_CHECKING:
    from perstack.domain.identities import Capability, Identity, IdentityAuditEntry
    from perstack.domain.ids import IdentityId
    from perstack.services.identities import IdentityService
    from perstack.wiring import ProjectFacts, Tables

T = TypeVar("T")

Id = Annotated[str, typer.Option("-i", "--id", metavar="ID", help="The identity's id.")]
SomeId = Annotated[str | None, typer.Option("-i", "--id", metavar="ID", help="The identity's id.")]
Name = Annotated[str | None, typer.Option("-n", "--name", metavar="NAME", help="Its display name.")]
Type = Annotated[str, typer.Option("-t", "--type", metavar="TYPE", help="The type of its agents.")]
SomeType = Annotated[
    str | None, typer.Option("-t", "--type", metavar="TYPE", help="Only those of a type.")
]
Status = Annotated[
    str | None,
    typer.Option("--status", metavar="STATUS", help="Only created, active, dormant or retired."),
]
Description = Annotated[
    str | None, typer.Option("--description", metavar="TEXT", help="What it is for.")
]
Abilities = Annotated[
    str | None,
    typer.Option(
        "--capabilities",
        metavar="JSON",
        help='A list of {"name", "enabled"}, "version" and "metadata" optional; @FILE reads it.',
    ),
]
Actor = Annotated[
    str | None, typer.Option("--actor", metavar="NAME", help="Who does it; else user@host.")
]
Creator = Annotated[
    str | None, typer.Option("--created-by", metavar="NAME", help="Who makes it; else user@host.")
]
Limit = Annotated[
    int | None, typer.Option("-l", "--limit", metavar="N", help="At most so many (all).")
]


def identity_app() -> typer.Typer:
    """Return the `identity` commands."""
    return s.noun(
        "identity",
        "Identities: who agents are from one spawn to the next.",
        (create, get, list_, update, activate, deactivate, retire, audit),
    )


def create(
    type_: Type,
    name: Name = None,
    description: Description = None,
    capabilities: Abilities = None,
    metadata: s.Metadata = None,
    created_by: Creator = None,
    activate: Annotated[
        bool, typer.Option("--activate", help="Activate it at once: agents may carry it.")
    ] = False,
    workspace: o.Workspace = o.HERE,
    as_json: a.Json = False,
) -> None:
    """Make an identity; activate lets agents carry it."""
    abilities = _capabilities(capabilities) or ()
    kept = s.json_object(metadata, "--metadata")

    async def ask(identities: IdentityService) -> Identity:
        return await identities.create(
            type_,
            display_name=name,
            description=description,
            capabilities=abilities,
            metadata=kept,
            created_by=created_by or _me(),
            auto_activate=activate,
        )

    _show(as_json, _with_identities(a.Place(workspace), ask))


def get(
    identity_id: SomeId = None,
    name: Name = None,
    workspace: o.Workspace = o.HERE,
    as_json: a.Json = False,
) -> None:
    """Show an identity; the id counts where both are given."""

    async def ask(identities: IdentityService) -> Identity:
        return await identities.get(_id(identity_id or ""), display_name=name)

    _show(as_json, _with_identities(_there(a.Place(workspace)), ask))


def list_(
    status: Status = None,
    type_: SomeType = None,
    limit: Limit = None,
    offset: s.Offset = 0,
    workspace: o.Workspace = o.HERE,
    as_json: a.Json = False,
) -> None:
    """List identities, the last active first."""
    from perstack.projection.identity_text import identity_rows

    async def ask(identities: IdentityService) -> list[Identity]:
        return list(
            await identities.list(status=status, agent_type=type_, limit=limit, offset=offset)
        )

    place = a.Place(workspace)
    found = [] if s.nothing_there(place) else _with_identities(place, ask)
    s.show(as_json, lambda: s.json_of_many("identities", found), lambda: identity_rows(found))


def update(
    identity_id: Id,
    name: Name = None,
    description: Description = None,
    capabilities: Abilities = None,
    metadata: s.Metadata = None,
    actor: Actor = None,
    workspace: o.Workspace = o.HERE,
    as_json: a.Json = False,
) -> None:
    """Set what is given; capabilities and metadata are replaced as a whole."""
    from perstack.domain.identities import IdentityUpdate

    given = {
        "display_name": name,
        "description": description,
        "capabilities": _capabilities(capabilities),
        "metadata": s.json_object(metadata, "--metadata"),
    }
    change = IdentityUpdate.model_validate({k: v for k, v in given.items() if v is not None})

    async def ask(identities: IdentityService) -> Identity:
        return await identities.update(_id(identity_id), change, actor_id=actor or _me())

    _show(as_json, _with_identities(_there(a.Place(workspace)), ask))


def activate(
    identity_id: Id,
    actor: Actor = None,
    workspace: o.Workspace = o.HERE,
    as_json: a.Json = False,
) -> None:
    """Let agents carry it."""

    async def ask(identities: IdentityService) -> Identity:
        return await identities.activate(_id(identity_id), actor_id=actor or _me())

    _show(as_json, _with_identities(_there(a.Place(workspace)), ask))


def deactivate(
    identity_id: Id,
    reason: a.Reason = None,
    actor: Actor = None,
    workspace: o.Workspace = o.HERE,
    as_json: a.Json = False,
) -> None:
    """Let it rest until it is activated again."""

    async def ask(identities: IdentityService) -> Identity:
        return await identities.deactivate(_id(identity_id), reason=reason, actor_id=actor or _me())

    _show(as_json, _with_identities(_there(a.Place(workspace)), ask))


def retire(
    identity_id: Id,
    reason: a.Reason = None,
    actor: Actor = None,
    workspace: o.Workspace = o.HERE,
    as_json: a.Json = False,
) -> None:
    """End it for good."""

    async def ask(identities: IdentityService) -> Identity:
        return await identities.retire(_id(identity_id), reason=reason, actor_id=actor or _me())

    _show(as_json, _with_identities(_there(a.Place(workspace)), ask))


def audit(
    identity_id: Id,
    limit: s.Limit = 100,
    workspace: o.Workspace = o.HERE,
    as_json: a.Json = False,
) -> None:
    """Show what happened to it, newest first."""
    from perstack.projection.identity_text import audit_rows

    async def ask(identities: IdentityService) -> list[IdentityAuditEntry]:
        return list(await identities.audit(_id(identity_id), limit=limit))

    found = _with_identities(_there(a.Place(workspace)), ask)
    s.show(
        as_json,
        lambda: {
            "agentId": identity_id,
            "count": len(found),
            "entries": [s.json_of_one(one) for one in found],
        },
        lambda: audit_rows(found),
    )


def _there(place: a.Place) -> a.Place:
    s.refuse_empty(place, "Identity not found")
    return place


def _with_identities(place: a.Place, ask: Callable[[IdentityService], Awaitable[T]]) -> T:
    from perstack.ports.system import SystemClock, Uuids
    from perstack.services.identities import IdentityService

    async def over(tables: Tables, _: ProjectFacts | None) -> T:
        return await ask(IdentityService(tables.stores, clock=SystemClock(), ids=Uuids()))

    return s.with_tables(place, over)


def _show(as_json: bool, identity: Identity) -> None:
    from perstack.projection.identity_text import identity_lines

    s.show(as_json, lambda: s.json_of_one(identity), lambda: identity_lines(identity))


def _id(text: str) -> IdentityId:
    from perstack.domain.ids import IdentityId

    return IdentityId(text)


def _me() -> str:
    from perstack.services.whoami import whoami

    return whoami()


def _capabilities(given: str | None) -> tuple[Capability, ...] | None:
    """Return the capabilities that were typed.

    Raises:
        UsageError: it is no list of them.
    """
    from pydantic import TypeAdapter, ValidationError

    from perstack.cli.agent_work import text_of
    from perstack.domain.identities import Capability
    from perstack.errors import UsageError

    if given is None:
        return None
    try:
        return TypeAdapter(tuple[Capability, ...]).validate_json(text_of(given, "File"))
    except ValidationError as error:
        raise UsageError(
            "--capabilities is no list of capabilities",
            hint="""--capabilities '[{"name": "review", "enabled": true}]'""",
        ) from error

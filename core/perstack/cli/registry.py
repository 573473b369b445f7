"""`perstack registry`: hosting a registry of Experts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from perstack.cli import options as o

if TYPE_CHECKING:
    from pydantic import JsonValue

    from perstack.domain.registry_hosting import ApiKey, Organisation
    from perstack.services.registry.access import RegistryAccess

T = TypeVar("T")
Port = Annotated[
    int,
    typer.Option(
        "-p", "--port", metavar="N", min=0, max=65_535, help="The port; 0 is any that is free."
    ),
]
Host = Annotated[
    str, typer.Option("--host", metavar="HOST", help="The address to listen on (127.0.0.1).")
]
Private = Annotated[bool, typer.Option("--private", help="Let nobody read without a key.")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="A name that the registry is reached by."),
]
Name = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="It publishes under @NAME/; without one, unscoped."),
]
Org = Annotated[str, typer.Option("--org", metavar="NAME|ID", help="Whose key it is.")]
Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", metavar="SCOPE", help="read, publish or manage; all unless given."),
]
Expires = Annotated[
    str | None,
    typer.Option("--expires", metavar="TIME", help="When it ends, such as 90d or 12h; never."),
]
Prefix = Annotated[str, typer.Argument(metavar="PREFIX", help="How the key begins.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_NO_ORGANISATIONS: Final = "There are no organisations. To add one: perstack registry org add NAME"
_NO_KEYS: Final = "There are no keys. To make one: perstack registry key add --org NAME"


def registry_app() -> typer.Typer:
    """Return the `registry` commands."""
    app = _noun("registry", "Host a registry of Experts.")
    app.command(name="serve")(serve)
    org = _noun("org", "Say who may publish.")
    org.command(name="add")(org_add)
    org.command(name="list")(org_list)
    key = _noun("key", "Say with which keys.")
    key.command(name="add")(key_add)
    key.command(name="list")(key_list)
    key.command(name="revoke")(key_revoke)
    app.add_typer(org)
    app.add_typer(key)
    return app


def _noun(name: str, about: str) -> typer.Typer:
    return typer.Typer(name=name, help=about, no_args_is_help=True, rich_markup_mode=None)


def serve(
    port: Port = 3002,
    host: Host = "127.0.0.1",
    private: Private = False,
    allow_host: AllowHost = None,
    workspace: o.Workspace = o.HERE,
) -> None:
    """Serve the registry that is in this folder's tables until Ctrl-C."""
    import anyio

    from perstack.cli.listeners import say
    from perstack.cli.looking import log_as_a_server
    from perstack.serving.registry.server import Listening
    from perstack.serving.registry.server import serve as serve_registry

    asked = Listening(host=host, port=port, names=frozenset(allow_host or ()), private=private)
    log_as_a_server(workspace.absolute())
    anyio.run(serve_registry, workspace.absolute(), asked, say)


def org_add(name: Name = None, workspace: o.Workspace = o.HERE, as_json: Json = False) -> None:
    """Add an organisation."""

    async def ask(access: RegistryAccess) -> Organisation:
        return await access.add_organisation(name)

    made = _with_access(workspace, ask)
    where = f"@{made.name}/" if made.name else "names without a scope"
    _print(
        f"Added {made.name or made.id}, which publishes {where}: "
        f"perstack registry key add --org {made.name or made.id}",
        made.model_dump(mode="json", by_alias=True) if as_json else None,
    )


def org_list(workspace: o.Workspace = o.HERE, as_json: Json = False) -> None:
    """List the organisations, the oldest first."""
    found = _listed(workspace, lambda access: access.organisations())
    rows = [(each.id, each.name or "-") for each in found]
    told: list[JsonValue] = [each.model_dump(mode="json", by_alias=True) for each in found]
    _print(
        _columns(("ID", "NAME"), rows, _NO_ORGANISATIONS),
        {"count": len(told), "organisations": told} if as_json else None,
    )


def key_add(
    org: Org,
    scope: Scopes = None,
    expires: Expires = None,
    workspace: o.Workspace = o.HERE,
) -> None:
    """Make a key and print it: this once, alone on standard output."""
    from perstack.cli.listeners import say
    from perstack.cli.printing import print_lines
    from perstack.domain.registry_hosting import SCOPES
    from perstack.services.registry.access import MadeKey

    lasts_ms = None if expires is None else _lasts(expires)

    async def ask(access: RegistryAccess) -> MadeKey:
        return await access.add_key(org, scopes=scope or SCOPES, lasts_ms=lasts_ms)

    made = _with_access(workspace, ask)
    until = f" until {_time(made.key.expires_at)}" if made.key.expires_at else ""
    say(f"A key of {org} for {', '.join(made.key.scopes)}{until}. It is not shown again.")
    print_lines([made.token])


def key_list(workspace: o.Workspace = o.HERE, as_json: Json = False) -> None:
    """List the keys, the oldest first, by how they begin."""
    found = _listed(workspace, lambda access: access.keys())
    organisations = _listed(workspace, lambda access: access.organisations())
    names = {each.id: each.name or each.id for each in organisations}
    head = ("PREFIX", "ORGANISATION", "SCOPES", "EXPIRES", "LAST USED", "REVOKED")
    rows = [
        (
            each.prefix,
            names.get(each.organisation_id, each.organisation_id),
            ",".join(each.scopes),
            *map(_time, (each.expires_at, each.last_used_at, each.revoked_at)),
        )
        for each in found
    ]
    told: list[JsonValue] = [each.model_dump(mode="json", by_alias=True) for each in found]
    _print(
        _columns(head, rows, _NO_KEYS),
        {"count": len(told), "keys": told} if as_json else None,
    )


def key_revoke(prefix: Prefix, workspace: o.Workspace = o.HERE) -> None:
    """Let a key be worth nothing any more, from now on."""

    async def ask(access: RegistryAccess) -> ApiKey:
        return await access.revoke(prefix)

    _print(f"Revoked {_with_access(workspace, ask).prefix}.", None)


def _lasts(text: str) -> int | None:
    """Return milliseconds, None for never."""
    import re

    from perstack.errors import UsageError

    units = {"h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000, "y": 365 * 86_400_000}
    if text == "never":
        return None
    match = re.fullmatch(r"([1-9]\d{0,5})([hdwy])", text, re.ASCII)
    if match is None:
        raise UsageError(
            f"--expires {text[:40]!a} is no time", hint="write one such as 12h, 90d, 4w or 1y"
        )
    return int(match[1]) * units[match[2]]


def _time(moment_ms: int | None) -> str:
    from perstack.domain.moments import iso8601

    return "-" if moment_ms is None else iso8601(moment_ms)[:16] + "Z"


def _listed(
    workspace: Path, ask: Callable[[RegistryAccess], Awaitable[Sequence[T]]]
) -> Sequence[T]:
    """Return what is there; where there are no tables, none are made."""
    from perstack.wiring import has_database

    return _with_access(workspace, ask) if has_database(workspace.absolute()) else ()


def _with_access(workspace: Path, ask: Callable[[RegistryAccess], Awaitable[T]]) -> T:
    import anyio

    async def asking() -> T:
        from perstack.serving.registry.app import access_over
        from perstack.wiring import open_tables

        tables = open_tables(workspace.absolute())
        try:
            return await ask(access_over(tables))
        finally:
            await tables.aclose()

    return anyio.run(asking)


def _columns(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], empty: str) -> str:
    from perstack.projection.table_text import in_columns

    return "\n".join(in_columns([head, *rows])) if rows else empty


def _print(text: str, told: dict[str, JsonValue] | None) -> None:
    import json

    from perstack.cli.printing import print_lines
    from perstack.projection.inert import inert

    print_lines([inert(text) if told is None else json.dumps(told, indent=2)])

"""`perstack user`: who may sign in at `perstack serve`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from perstack.cli import options as o

if TYPE_CHECKING:
    from perstack.domain.users import Role, User
    from perstack.services.users import UserService

T = TypeVar("T")
Name = Annotated[str, typer.Argument(metavar="NAME", help="What the user is called.")]
EmailArgument = Annotated[str, typer.Argument(metavar="EMAIL", help="The user's address.")]
Email = Annotated[str, typer.Option("--email", metavar="ADDRESS", help="What one signs in with.")]
RoleOption = Annotated[
    str, typer.Option("--role", metavar="ROLE", help="admin, developer or viewer.")
]
RoleArgument = Annotated[str, typer.Argument(metavar="ROLE", help="admin, developer or viewer.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def user_app() -> typer.Typer:
    """Return the `user` commands."""
    app = typer.Typer(
        name="user",
        help="Say who may sign in at perstack serve.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for command in (add, list_, role, password, remove):
        app.command(name=command.__name__.rstrip("_"))(command)
    return app


def add(
    name: Name,
    email: Email,
    role: RoleOption = "developer",
    password_stdin: PasswordStdin = False,
    workspace: o.Workspace = o.HERE,
    as_json: Json = False,
) -> None:
    """Add a user; the password is asked for."""
    chosen, secret = _role(role), _password(password_stdin)

    async def ask(users: UserService) -> User:
        return await users.add(email=email, username=name, password=secret, role=chosen)

    made = _with_users(workspace, ask)
    _show([made], as_json, f"Added {made.username} ({made.role}).")


def list_(workspace: o.Workspace = o.HERE, as_json: Json = False) -> None:
    """List the users, the oldest first."""
    from perstack.wiring import has_database

    async def ask(users: UserService) -> list[User]:
        return list(await users.list())

    found = _with_users(workspace, ask) if has_database(workspace) else []
    _show(found, as_json, _table(found), one=False)


def role(
    email: EmailArgument,
    role: RoleArgument,
    workspace: o.Workspace = o.HERE,
    as_json: Json = False,
) -> None:
    """Change what a user may do; there is always an admin left."""
    chosen = _role(role)

    async def ask(users: UserService) -> User:
        return await users.set_role((await users.by_email(email)).id, chosen)

    changed = _with_users(workspace, ask)
    _show([changed], as_json, f"{changed.username} is {changed.role} now.")


def password(
    email: EmailArgument,
    password_stdin: PasswordStdin = False,
    workspace: o.Workspace = o.HERE,
    as_json: Json = False,
) -> None:
    """Set a user's password; the user has to sign in again everywhere."""
    secret = _password(password_stdin)

    async def ask(users: UserService) -> User:
        return await users.reset_password(email, secret)

    changed = _with_users(workspace, ask)
    _show([changed], as_json, f"The password of {changed.username} was changed.")


def remove(email: EmailArgument, workspace: o.Workspace = o.HERE, as_json: Json = False) -> None:
    """Remove a user; there is always an admin left."""

    async def ask(users: UserService) -> User:
        user = await users.by_email(email)
        await users.delete(user.id)
        return user

    removed = _with_users(workspace, ask)
    _show([removed], as_json, f"Removed {removed.username}.")


def _role(role: str) -> Role:
    from typing import get_args

    from perstack.domain.users import Role
    from perstack.services.bounds import check_word

    return check_word(role, "role", get_args(Role))


def _password(from_stdin: bool) -> str:
    import sys

    from perstack.errors import UsageError

    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for a password", hint="use --password-stdin")
    return typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)


def _with_users(workspace: Path, ask: Callable[[UserService], Awaitable[T]]) -> T:
    import anyio

    async def asking() -> T:
        from perstack.ports.system import SystemClock, Uuids
        from perstack.services.users import UserService
        from perstack.serving.rest.passwords import Argon2Passwords
        from perstack.wiring import open_tables

        tables = open_tables(workspace.absolute())
        try:
            return await ask(
                UserService(
                    tables.stores,
                    passwords=Argon2Passwords(),
                    clock=SystemClock(),
                    ids=Uuids(),
                )
            )
        finally:
            await tables.aclose()

    return anyio.run(asking)


def _table(users: list[User]) -> str:
    from perstack.projection.table_text import in_columns

    rows = [(user.email, user.username, user.role) for user in users]
    return (
        "\n".join(in_columns([("EMAIL", "NAME", "ROLE"), *rows])) if rows else "There are no users."
    )


def _show(users: list[User], as_json: bool, text: str, *, one: bool = True) -> None:
    import json

    from perstack.cli.printing import print_lines
    from perstack.projection.inert import inert

    if not as_json:
        print_lines([inert(text)])
        return
    told = [user.model_dump(mode="json", by_alias=True, exclude={"epoch"}) for user in users]
    shown = told[0] if one else {"count": len(told), "users": told}
    print_lines([json.dumps(shown, indent=2)])

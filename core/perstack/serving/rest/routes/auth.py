"""/api/v1/auth: signing in, and users. Its answers stand without an envelope."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Path, Request
from pydantic import Field
from starlette.requests import HTTPConnection

from perstack.domain.base import Model
from perstack.domain.moments import Moment
from perstack.domain.users import (
    ACCESS_S,
    LONGEST_EMAIL,
    LONGEST_NAME,
    LONGEST_PASSWORD,
    SHORTEST_PASSWORD,
    Role,
    User,
    UserId,
    mailbox,
)
from perstack.errors import UsageError
from perstack.services.users import SignedIn
from perstack.serving.rest.context import Principal, needs, permissions, signed_in, state_of
from perstack.serving.rest.parameters import Body

router = APIRouter(prefix="/auth", tags=["auth"])

_ID_LENGTH: Final = 200
_TOKEN_LENGTH: Final = 256
Email = Annotated[str, Field(min_length=3, max_length=LONGEST_EMAIL)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
NewPassword = Annotated[str, Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]
OldPassword = Annotated[str, Field(min_length=1, max_length=LONGEST_PASSWORD)]
UserPath = Annotated[UserId, Path(alias="id", min_length=1, max_length=_ID_LENGTH)]
Asking = Annotated[Principal, Depends(signed_in)]
READS = Depends(needs("users", "read"))
WRITES = Depends(needs("users", "write"))


class UserView(Model):
    """A user as others see one."""

    id: str
    email: str
    username: str
    role: Role
    created_at: Moment
    updated_at: Moment
    last_login_at: Moment | None


class Registration(Body):
    """Who is to become a user. A role may stand here, and is not looked at."""

    email: Email
    username: Name
    password: NewPassword
    role: str | None = Field(default=None, max_length=LONGEST_NAME)


class Login(Body):
    """An address and a password."""

    email: Email
    password: OldPassword


class Renewal(Body):
    """A refresh token."""

    refresh_token: str = Field(min_length=1, max_length=_TOKEN_LENGTH)


class PasswordChange(Body):
    """The password that is, and the one that shall be."""

    old_password: OldPassword
    new_password: NewPassword


class RoleChange(Body):
    """What a user shall be."""

    role: Role


class Tokens(Model):
    """What to send along, what renews it, and for how many seconds it is believed."""

    access_token: str
    refresh_token: str
    expires_in: int = ACCESS_S
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  the kind of a token


class Registered(Model):
    """Who is a user now."""

    user: UserView


class LoggedIn(Model):
    """Who it is, and the tokens."""

    user: UserView
    tokens: Tokens


class Renewed(Model):
    """New tokens; the old refresh token is worth nothing any more."""

    tokens: Tokens


class Me(Model):
    """Who asks. `user` is null for the server's own token."""

    name: str
    role: Role
    user: UserView | None
    permissions: tuple[str, ...]


class Users(Model):
    """All users, the oldest first."""

    users: tuple[UserView, ...]


class Done(Model):
    """What was done."""

    success: Literal[True] = True
    message: str


async def _may_register(connection: HTTPConnection) -> None:
    state = state_of(connection)
    if not state.rules.open_registration:
        await needs("users", "write")(connection)
        return
    # Anybody may, and each costs a hash.
    state.sign_in.limits.attempt(address := _address(connection), f"register {address}")


@router.post("/register", status_code=201, dependencies=[Depends(_may_register)])
async def register(request: Request, body: Registration) -> Registered:
    """Add a user, who is a developer whatever the body says."""
    made = await state_of(request).sign_in.users.add(
        email=body.email, username=body.username, password=body.password
    )
    return Registered(user=_view(made))


@router.post("/login")
async def login(request: Request, body: Login) -> LoggedIn:
    """Sign in."""
    entry = state_of(request).sign_in
    address = _address(request)
    account = mailbox(body.email)
    entry.limits.attempt(address, account)
    found = await entry.users.sign_in(email=body.email, password=body.password)
    entry.limits.succeeded(address, account)
    return LoggedIn(user=_view(found.user), tokens=_tokens(request, found))


@router.post("/refresh")
async def refresh(request: Request, body: Renewal) -> Renewed:
    """Take a refresh token, once, and give new tokens."""
    found = await state_of(request).sign_in.users.renew(body.refresh_token)
    return Renewed(tokens=_tokens(request, found))


@router.post("/logout")
async def logout(request: Request, principal: Asking) -> Done:
    """Let none of the user's tokens be worth anything."""
    await state_of(request).sign_in.users.sign_out(_own_id(principal))
    return Done(message="Logged out")


@router.get("/me")
async def me(request: Request, principal: Asking) -> Me:
    """Tell who asks, and what they may do."""
    found = None
    if principal.user_id is not None:
        found = await state_of(request).sign_in.users.find(UserId(principal.user_id))
    return Me(
        name=principal.name,
        role=principal.role,
        user=None if found is None else _view(found),
        permissions=permissions(principal),
    )


@router.post("/change-password")
async def change_password(request: Request, principal: Asking, body: PasswordChange) -> Done:
    """Change one's password; one has to sign in again everywhere."""
    entry, user_id = state_of(request).sign_in, _own_id(principal)
    # Who only has somebody's token must not find out the password with it.
    entry.limits.attempt(address := _address(request), user_id)
    await entry.users.change_password(user_id, old=body.old_password, new=body.new_password)
    entry.limits.succeeded(address, user_id)
    return Done(message="Password changed")


@router.get("/users", dependencies=[READS])
async def list_users(request: Request) -> Users:
    """List the users."""
    found = await state_of(request).sign_in.users.list()
    return Users(users=tuple(_view(user) for user in found))


@router.put("/users/{id}/role", dependencies=[WRITES])
async def set_role(request: Request, user_id: UserPath, body: RoleChange) -> Registered:
    """Change a user's role; there is always an admin left."""
    changed = await state_of(request).sign_in.users.set_role(user_id, body.role)
    return Registered(user=_view(changed))


@router.delete("/users/{id}", dependencies=[WRITES])
async def delete_user(request: Request, user_id: UserPath) -> Done:
    """Remove a user; there is always an admin left."""
    await state_of(request).sign_in.users.delete(user_id)
    return Done(message="User deleted")


def _address(connection: HTTPConnection) -> str:
    return "" if connection.client is None else connection.client.host


def _own_id(principal: Principal) -> UserId:
    if principal.user_id is None:
        raise UsageError(
            "this is the server's own token, not a user's", hint="sign in at /api/v1/auth/login"
        )
    return UserId(principal.user_id)


def _tokens(request: Request, found: SignedIn) -> Tokens:
    return Tokens(
        access_token=state_of(request).sign_in.signer.sign(found.user),
        refresh_token=found.refresh_token,
    )


def _view(user: User) -> UserView:
    return UserView(**user.model_dump(by_alias=False, exclude={"epoch"}))

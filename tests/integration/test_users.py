"""Users: unique, with an admin left, signed in by rotating tokens; over every database."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from perstack.domain.users import REFRESH_S, Role, User
from perstack.errors import ConflictError, NotFoundError, NotSignedInError, UsageError
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.services.handle import Handle
from perstack.services.users import UserService
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import SetClock

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse battery"


class Plain:
    """Passwords as they are: what is tested here is not how they are hashed."""

    async def hash(self, password: str) -> str:
        return f"hash of {password}"

    async def matches(self, password_hash: str | None, password: str) -> bool:
        return password_hash == f"hash of {password}"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def users(database_target: Path | str, clock: SetClock) -> AsyncGenerator[UserService]:
    handle: Handle[Stores] = Handle(lambda: open_stores(database_target, clock=clock, ids=Uuids()))
    yield UserService(handle, passwords=Plain(), clock=clock, ids=Uuids())
    await handle.aclose()


async def add(users: UserService, name: str, role: Role = "developer") -> User:
    return await users.add(email=f"{name}@example.org", username=name, password=PASSWORD, role=role)


async def test_addresses_and_names_are_one_whatever_their_case(users: UserService) -> None:
    ann = await users.add(email=" Ann@Example.ORG ", username="Ann", password=PASSWORD)
    assert (ann.email, ann.role) == ("ann@example.org", "developer")
    for email, name in (("ANN@example.org", "other"), ("other@example.org", "ANN")):
        with pytest.raises(ConflictError):
            await users.add(email=email, username=name, password=PASSWORD)
    assert (await users.sign_in(email="aNN@example.org", password=PASSWORD)).user.id == ann.id
    assert [user.username for user in await users.list()] == ["Ann"]


@pytest.mark.parametrize(
    ("email", "name", "password"),
    [
        ("nothing", "ann", PASSWORD),
        ("a b@x.org", "ann", PASSWORD),
        ("a@x.org", " ", PASSWORD),
        ("a@x.org", "n" * 65, PASSWORD),
        ("a@x.org", "ann", "short"),
        ("a@x.org", "ann", "p" * 257),
        ("a" * 254 + "@x", "ann", PASSWORD),
    ],
)
async def test_what_is_no_user_is_refused(
    users: UserService, email: str, name: str, password: str
) -> None:
    with pytest.raises(UsageError):
        await users.add(email=email, username=name, password=password)


async def test_a_wrong_password_and_an_unknown_address_are_the_same_error(
    users: UserService,
) -> None:
    await add(users, "ann")
    said: set[str] = set()
    for email in ("ann@example.org", "nobody@example.org"):
        with pytest.raises(NotSignedInError) as raised:
            await users.sign_in(email=email, password="another")
        said.add(raised.value.message)
    assert said == {"Invalid credentials"}


async def test_a_refresh_token_lasts_seven_days(users: UserService, clock: SetClock) -> None:
    await add(users, "ann")
    first = await users.sign_in(email="ann@example.org", password=PASSWORD)
    clock.move(REFRESH_S * 1_000 - 1)
    second = await users.renew(first.refresh_token)
    clock.move(REFRESH_S * 1_000)
    with pytest.raises(NotSignedInError):
        await users.renew(second.refresh_token)


async def test_a_token_taken_twice_ends_its_family_and_no_other(users: UserService) -> None:
    await add(users, "ann")
    here = await users.sign_in(email="ann@example.org", password=PASSWORD)
    there = await users.sign_in(email="ann@example.org", password=PASSWORD)
    next_one = await users.renew(here.refresh_token)
    for token in (here.refresh_token, next_one.refresh_token):
        with pytest.raises(NotSignedInError):
            await users.renew(token)
    assert (await users.renew(there.refresh_token)).user.username == "ann"


async def test_of_many_who_take_one_token_at_most_one_gets_the_next(users: UserService) -> None:
    await add(users, "ann")
    first = await users.sign_in(email="ann@example.org", password=PASSWORD)
    got: list[str] = []

    async def take() -> None:
        try:
            got.append((await users.renew(first.refresh_token)).refresh_token)
        except NotSignedInError:
            return

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(take)
    assert len(got) == 1
    with pytest.raises(NotSignedInError):
        await users.renew(got[0])


async def test_the_last_admin_can_neither_go_nor_be_demoted(users: UserService) -> None:
    ann = await add(users, "ann", "admin")
    with pytest.raises(ConflictError, match="last admin"):
        await users.set_role(ann.id, "viewer")
    with pytest.raises(ConflictError, match="last admin"):
        await users.delete(ann.id)
    bob = await add(users, "bob", "admin")
    assert (await users.set_role(ann.id, "viewer")).role == "viewer"
    with pytest.raises(ConflictError):
        await users.delete(bob.id)
    await users.delete(ann.id)
    with pytest.raises(NotFoundError):
        await users.delete(ann.id)
    assert await users.has_admin()


class Meanwhile(Plain):
    """Passwords, while one of which is looked at something else happens."""

    def __init__(self) -> None:
        self.happens: Callable[[], Awaitable[None]] | None = None

    async def matches(self, password_hash: str | None, password: str) -> bool:
        happens, self.happens = self.happens, None
        if happens is not None:
            await happens()
        return await super().matches(password_hash, password)


@pytest.mark.parametrize("deed", ["password", "removal"])
async def test_who_signs_in_while_the_password_changes_gets_nothing(
    database_target: Path | str, clock: SetClock, deed: str
) -> None:
    handle: Handle[Stores] = Handle(lambda: open_stores(database_target, clock=clock, ids=Uuids()))
    passwords = Meanwhile()
    users = UserService(handle, passwords=passwords, clock=clock, ids=Uuids())
    ann = await add(users, "ann")

    async def change() -> None:
        if deed == "removal":
            await users.delete(ann.id)
        else:
            await users.reset_password("ann@example.org", "a new password")

    passwords.happens = change
    with pytest.raises(NotSignedInError):
        await users.sign_in(email="ann@example.org", password=PASSWORD)
    await handle.aclose()


async def test_signing_out_and_a_new_password_end_what_was_before(users: UserService) -> None:
    ann = await add(users, "ann")
    first = await users.sign_in(email="ann@example.org", password=PASSWORD)
    await users.sign_out(ann.id)
    with pytest.raises(NotSignedInError):
        await users.renew(first.refresh_token)
    second = await users.sign_in(email="ann@example.org", password=PASSWORD)
    await users.reset_password("ann@example.org", "a new password")
    with pytest.raises(NotSignedInError):
        await users.renew(second.refresh_token)
    found = await users.find(ann.id)
    assert found is not None
    assert found.epoch == 2

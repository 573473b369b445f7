"""Users and their refresh tokens in the database."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import sqlalchemy as sa
from pydantic import ValidationError

from perstack.domain.users import Role, User, UserId, mailbox
from perstack.errors import ConflictError, CorruptRecordError, NotFoundError
from perstack.ports.users import Credentials, RefreshToken
from perstack.storage.database.engine import Database
from perstack.storage.database.text import safe_text

_METADATA: Final = sa.MetaData()
_USERS: Final = sa.Table(
    "users",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("id", sa.Text),
    sa.Column("email", sa.Text),
    sa.Column("username", sa.Text),
    sa.Column("username_key", sa.Text),
    sa.Column("password_hash", sa.Text),
    sa.Column("role", sa.Text),
    sa.Column("epoch", sa.BigInteger),
    sa.Column("created_at", sa.BigInteger),
    sa.Column("updated_at", sa.BigInteger),
    sa.Column("last_login_at", sa.BigInteger),
)
_TOKENS: Final = sa.Table(
    "refresh_tokens",
    _METADATA,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text),
    sa.Column("family", sa.Text),
    sa.Column("created_at", sa.BigInteger),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("used_at", sa.BigInteger),
    sa.Column("revoked_at", sa.BigInteger),
)
_OURS: Final = frozenset({"number", "username_key", "password_hash"})


class SqlUserStore:
    """Implements `ports.users.UserStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, credentials: Credentials) -> None:
        """Write a new user."""
        await self._database.write(partial(_add, credentials=credentials))

    async def find(self, user_id: UserId) -> User | None:
        """Return the user."""
        found = await self.credentials(user_id=user_id)
        return None if found is None else found.user

    async def credentials(
        self, *, user_id: UserId | None = None, email: str | None = None
    ) -> Credentials | None:
        """Return the user of that id, or else of that address, with the hash."""
        where = (
            _USERS.c.id == safe_text(user_id)
            if user_id is not None
            else _USERS.c.email == safe_text(mailbox(email or ""))
        )
        return await self._database.read(partial(_find, where=where))

    async def list(self, *, limit: int = 1_000) -> Sequence[User]:
        """Return users, the oldest first."""
        query = sa.select(_USERS).order_by(_USERS.c.number).limit(limit)
        return await self._database.read(
            lambda connection: [_from_row(row).user for row in connection.execute(query).mappings()]
        )

    async def count(self, role: Role | None = None) -> int:
        """Return how many there are."""
        query = sa.select(sa.func.count()).select_from(_USERS)
        if role is not None:
            query = query.where(_USERS.c.role == role)
        return await self._database.read(lambda connection: connection.execute(query).scalar_one())

    async def set_role(self, user_id: UserId, role: Role, *, now_ms: int) -> User:
        """Change the role."""
        return await self._database.write(
            partial(_set_role, user_id=user_id, role=role, now_ms=now_ms)
        )

    async def set_password(self, user_id: UserId, password_hash: str, *, now_ms: int) -> None:
        """Change the hash and end what was signed before."""
        await self._database.write(
            partial(_revoke, user_id=user_id, now_ms=now_ms, password_hash=password_hash)
        )

    async def note_login(self, user_id: UserId, *, now_ms: int) -> None:
        """Write when the user last signed in."""
        change = _USERS.update().where(_USERS.c.id == user_id).values(last_login_at=now_ms)
        await self._database.write(lambda connection: connection.execute(change).rowcount)

    async def delete(self, user_id: UserId) -> None:
        """Remove a user with all tokens."""
        await self._database.write(partial(_delete, user_id=user_id))

    async def add_token(self, token: RefreshToken, *, epoch: int) -> bool:
        """Write the first token of a family."""
        return await self._database.write(partial(_begin_family, token=token, epoch=epoch))

    async def rotate(
        self, digest: str, *, new_digest: str, now_ms: int, expires_at: int
    ) -> User | None:
        """Take a token for the last time, and write the next one of its family."""
        return await self._database.write(
            partial(
                _rotate, digest=digest, new_digest=new_digest, now_ms=now_ms, expires_at=expires_at
            )
        )

    async def revoke_all(self, user_id: UserId, *, now_ms: int) -> None:
        """End what was signed for the user."""
        await self._database.write(partial(_revoke, user_id=user_id, now_ms=now_ms))


def _add(connection: sa.Connection, *, credentials: Credentials) -> None:
    user = credentials.user
    key = safe_text(user.username).casefold()
    email = safe_text(mailbox(user.email))
    taken = sa.select(_USERS.c.email).where(
        (_USERS.c.email == email) | (_USERS.c.username_key == key)
    )
    found = connection.execute(taken).scalars().first()
    if found is not None:
        what = "that e-mail address" if found == email else f"the name {user.username!a}"
        raise ConflictError(f"a user with {what} exists")
    row: dict[str, object] = {
        **user.model_dump(by_alias=False),
        "email": email,
        "username": safe_text(user.username),
        "username_key": key,
        "password_hash": credentials.password_hash,
    }
    connection.execute(_USERS.insert().values(row))


def _find(connection: sa.Connection, *, where: sa.ColumnElement[bool]) -> Credentials | None:
    row = connection.execute(sa.select(_USERS).where(where)).mappings().one_or_none()
    return None if row is None else _from_row(row)


def _of_id(connection: sa.Connection, user_id: UserId) -> Credentials:
    found = _find(connection, where=_USERS.c.id == safe_text(user_id))
    if found is None:
        raise NotFoundError("User not found")
    return found


def _keep_an_admin(connection: sa.Connection, user: User) -> None:
    if user.role != "admin":
        return
    others = sa.select(_USERS.c.id).where(_USERS.c.role == "admin", _USERS.c.id != user.id)
    if connection.execute(others.with_for_update()).first() is None:
        raise ConflictError(
            f"{user.username} is the last admin", hint="make another user an admin first"
        )


def _set_role(connection: sa.Connection, *, user_id: UserId, role: Role, now_ms: int) -> User:
    user = _of_id(connection, user_id).user
    if role != "admin":
        _keep_an_admin(connection, user)
    change = _USERS.update().where(_USERS.c.id == user.id).values(role=role, updated_at=now_ms)
    connection.execute(change)
    return user.model_copy(update={"role": role, "updated_at": now_ms})


def _revoke(
    connection: sa.Connection, *, user_id: UserId, now_ms: int, password_hash: str | None = None
) -> None:
    user = _of_id(connection, user_id).user
    values: dict[str, object] = {"epoch": user.epoch + 1}
    if password_hash is not None:
        values |= {"password_hash": password_hash, "updated_at": now_ms}
    connection.execute(_USERS.update().where(_USERS.c.id == user.id).values(values))
    connection.execute(
        _TOKENS.update()
        .where(_TOKENS.c.user_id == user.id, _TOKENS.c.revoked_at.is_(None))
        .values(revoked_at=now_ms)
    )


def _delete(connection: sa.Connection, *, user_id: UserId) -> None:
    user = _of_id(connection, user_id).user
    _keep_an_admin(connection, user)
    connection.execute(_TOKENS.delete().where(_TOKENS.c.user_id == user.id))
    connection.execute(_USERS.delete().where(_USERS.c.id == user.id))


def _locked(connection: sa.Connection, user_id: UserId) -> User | None:
    """Return a user whom nobody signs out until the transaction ends."""
    query = sa.select(_USERS).where(_USERS.c.id == user_id).with_for_update()
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _from_row(row).user


def _begin_family(connection: sa.Connection, *, token: RefreshToken, epoch: int) -> bool:
    user = _locked(connection, token.user_id)
    if user is None or user.epoch != epoch:
        return False
    _add_token(connection, token=token)
    return True


def _add_token(connection: sa.Connection, *, token: RefreshToken) -> None:
    connection.execute(_TOKENS.delete().where(_TOKENS.c.expires_at < token.created_at))
    connection.execute(
        _TOKENS.insert().values(
            digest=token.digest,
            user_id=token.user_id,
            family=token.family,
            created_at=token.created_at,
            expires_at=token.expires_at,
        )
    )


def _rotate(
    connection: sa.Connection, *, digest: str, new_digest: str, now_ms: int, expires_at: int
) -> User | None:
    query = sa.select(_TOKENS).where(_TOKENS.c.digest == digest)
    owner = connection.execute(query.with_only_columns(_TOKENS.c.user_id)).scalar()
    user = None if owner is None else _locked(connection, UserId(str(owner)))
    row = connection.execute(query).mappings().one_or_none()
    if (
        user is None
        or row is None
        or row["revoked_at"] is not None
        or int(row["expires_at"]) <= now_ms
    ):
        return None
    take = (
        _TOKENS.update()
        .where(_TOKENS.c.digest == digest, _TOKENS.c.used_at.is_(None))
        .values(used_at=now_ms)
    )
    if connection.execute(take).rowcount == 0:
        of_family = _TOKENS.update().where(_TOKENS.c.family == row["family"])
        connection.execute(of_family.values(revoked_at=now_ms))
        return None
    token = RefreshToken(new_digest, user.id, str(row["family"]), now_ms, expires_at)
    _add_token(connection, token=token)
    return user


def _from_row(row: sa.RowMapping) -> Credentials:
    values = {str(name): value for name, value in row.items() if name not in _OURS}
    try:
        return Credentials(User.model_validate(values), str(row["password_hash"]))
    except ValidationError as error:
        raise CorruptRecordError("a stored user is damaged") from error

"""Organisations of a registry and their API keys."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from perstack.domain.registry import ORGANISATION_LENGTH, is_tag
from perstack.domain.registry_hosting import (
    KEY_START,
    PREFIX_LENGTH,
    SCOPES,
    ApiKey,
    Holder,
    Organisation,
    Scope,
)
from perstack.errors import CorruptRecordError, NotFoundError, StorageError, UsageError
from perstack.ports.registry_ledger import Ledger
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.services.bounds import check_word
from perstack.services.handle import Handle
from perstack.services.registry import reasons

_KEY_BYTES: Final = 32
_LONGEST_KEY: Final = 256
_USE_NOTED_MS: Final = 60_000
_MOST_MS: Final = 10 * 366 * 86_400_000


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key, and what it is: told now and never again."""

    key: ApiKey
    token: str


def check_scope(holder: Holder, scope: Scope) -> None:
    """Let a key pass that is for this.

    Raises:
        RegistryRefusedError: it is not.
    """
    if scope not in holder.scopes:
        raise reasons.not_admitted(f"the API key {holder.prefix} lacks the scope {scope}")


class RegistryAccess:
    """Adds organisations and keys, and believes keys."""

    def __init__(self, stores: Handle[Stores], *, clock: Clock, ids: Ids) -> None:
        self._stores = stores
        self._clock = clock
        self._ids = ids

    async def add_organisation(self, name: str | None = None) -> Organisation:
        """Add an organisation; one without a name publishes names without a scope.

        Raises:
            UsageError: the name is none.
            ConflictError: another has it.
        """
        if name is not None and (not is_tag(name) or len(name) > ORGANISATION_LENGTH):
            raise UsageError(
                f"{name[:80]!a} is not the name of an organisation",
                hint="use up to 64 lower-case letters, digits, '-' and '_', without an @",
            )
        made = Organisation(id=self._ids.new(), name=name, created_at=self._clock.now_ms())
        await self._stores.ask(
            lambda stores: stores.registry.change(lambda ledger: ledger.add_organisation(made))
        )
        return made

    async def organisations(self) -> Sequence[Organisation]:
        """Return all, the oldest first."""
        return await self._stores.ask(
            lambda stores: stores.registry.look(lambda ledger: ledger.organisations())
        )

    async def add_key(
        self, organisation: str, *, scopes: Iterable[str] = SCOPES, lasts_ms: int | None = None
    ) -> MadeKey:
        """Make a key of the organisation that has this name or id.

        `lasts_ms` is when it expires from now on, in milliseconds; None is never.

        Raises:
            NotFoundError: there is no such organisation.
            UsageError: a scope is none, or it would last for less than no time or over ten years.
        """
        wanted = {check_word(scope, "scope", SCOPES) for scope in scopes}
        if not wanted:
            raise UsageError("a key without a scope could do nothing", hint="leave --scope out")
        if lasts_ms is not None and not 0 < lasts_ms <= _MOST_MS:
            raise UsageError("a key lasts for more than no time and at most ten years")
        token = KEY_START + secrets.token_urlsafe(_KEY_BYTES)
        now = self._clock.now_ms()

        def work(ledger: Ledger) -> ApiKey:
            made = ApiKey(
                prefix=token[:PREFIX_LENGTH],
                organisation_id=_organisation(ledger, organisation).id,
                scopes=tuple(scope for scope in SCOPES if scope in wanted),
                created_at=now,
                expires_at=None if lasts_ms is None else now + lasts_ms,
            )
            ledger.add_key(made, _digest(token))
            return made

        made = await self._stores.ask(lambda stores: stores.registry.change(work))
        return MadeKey(made, token)

    async def keys(self) -> Sequence[ApiKey]:
        """Return all, the oldest first; those that were revoked or expired among them."""
        return await self._stores.ask(
            lambda stores: stores.registry.look(lambda ledger: ledger.keys())
        )

    async def revoke(self, key: str) -> ApiKey:
        """Let a key be worth nothing any more; its first 12 characters are enough to say which.

        Raises:
            NotFoundError: there is no such key.
        """
        prefix, now = key[:PREFIX_LENGTH], self._clock.now_ms()
        found = await self._stores.ask(
            lambda stores: stores.registry.change(lambda ledger: ledger.revoke(prefix, now_ms=now))
        )
        if found is None:
            raise NotFoundError(
                "no key has this prefix",
                hint="perstack registry key list shows the prefixes; type one in full",
            )
        return found

    async def admit(self, token: str) -> Holder:
        """Return whose key it is.

        Raises:
            RegistryRefusedError: nobody's, or it has expired or was revoked (401).
        """
        if len(token) > _LONGEST_KEY:
            raise reasons.not_admitted("the API key is not known")
        digest = _digest(token)

        def work(ledger: Ledger) -> tuple[ApiKey, Organisation] | None:
            key = ledger.key(digest)
            if key is None:
                return None
            organisation = ledger.organisation(key.organisation_id)
            if organisation is None:
                raise CorruptRecordError("a stored key of the registry is nobody's")
            return key, organisation

        found = await self._stores.ask(lambda stores: stores.registry.look(work))
        if found is None:
            raise reasons.not_admitted("the API key is not known")
        key, organisation = found
        now = self._clock.now_ms()
        if key.revoked_at is not None:
            raise reasons.not_admitted(f"the API key {key.prefix} was revoked")
        if key.expires_at is not None and key.expires_at <= now:
            raise reasons.not_admitted(f"the API key {key.prefix} has expired")
        await self._note_use(key, now)
        return Holder(organisation=organisation, scopes=key.scopes, prefix=key.prefix)

    async def _note_use(self, key: ApiKey, now: int) -> None:
        """Write that a key was used, at most once a minute; what reads waits for no writer."""
        if key.last_used_at is not None and now - key.last_used_at < _USE_NOTED_MS:
            return
        try:
            await self._stores.ask(
                lambda stores: stores.registry.change(
                    lambda ledger: ledger.note_use(key.prefix, now_ms=now)
                )
            )
        except StorageError:
            return


def _organisation(ledger: Ledger, wanted: str) -> Organisation:
    name = wanted.removeprefix("@")
    for each in ledger.organisations():
        if each.id == wanted or each.name == name:
            return each
    raise NotFoundError(
        f"there is no organisation {wanted[:80]!a}", hint="perstack registry org list shows them"
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()

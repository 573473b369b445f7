"""What a registry has: one Expert, its versions, pages of all."""

from __future__ import annotations

from typing import Final

from perstack.domain.moments import iso8601
from perstack.domain.registry import (
    LATEST,
    ExpertPage,
    ExpertQuery,
    Owner,
    RegistryExpert,
    RegistryKey,
    VersionEntry,
    VersionList,
)
from perstack.domain.registry_hosting import Organisation
from perstack.errors import CorruptRecordError
from perstack.ports.registry_ledger import Ledger, VersionRecord
from perstack.ports.stores import Stores
from perstack.services.handle import Handle
from perstack.services.registry import reasons

FILTER_LENGTH: Final = 256
FILTER_WORDS: Final = 8
PAGE_BYTES: Final = 2 * 1024 * 1024


class RegistryShelf:
    """Finds what is published; it changes nothing."""

    def __init__(self, stores: Handle[Stores]) -> None:
        self._stores = stores

    async def find(self, key: RegistryKey) -> RegistryExpert:
        """Return an Expert; without version and tag the `latest` one.

        Raises:
            RegistryMissingError: it is not there.
        """

        def work(ledger: Ledger) -> RegistryExpert:
            record = ledger.find(key)
            if record is None:
                raise reasons.not_found(key)
            return expert_on(ledger, record)

        return await self._stores.ask(lambda stores: stores.registry.look(work))

    async def versions(self, key: RegistryKey) -> VersionList:
        """Return all versions of the name, the highest first; version and tag do not count.

        Raises:
            RegistryMissingError: there are none.
        """

        def work(ledger: Ledger) -> VersionList:
            found = [each for each in ledger.versions(key.name) if each.unpublished_at is None]
            if not found:
                raise reasons.not_found(RegistryKey(key.organisation, key.base))
            latest = next((each.version for each in found if each.is_latest), None)
            return VersionList(versions=tuple(map(_entry, found)), latest=latest)

        return await self._stores.ask(lambda stores: stores.registry.look(work))

    async def search(self, query: ExpertQuery) -> ExpertPage:
        """Return a page: as many as were asked for, or as many as 2 MiB hold, at least one.

        Raises:
            RegistryRefusedError: the filter is too long.
        """
        _check_filter(query.filter or "")

        def work(ledger: Ledger) -> ExpertPage:
            records, total = ledger.search(query)
            experts: list[RegistryExpert] = []
            size = 0
            for record in records:
                size += record.size
                if experts and size > PAGE_BYTES:
                    break
                experts.append(expert_on(ledger, record))
            return ExpertPage(experts=tuple(experts), total=total)

        return await self._stores.ask(lambda stores: stores.registry.look(work))


def _check_filter(words: str) -> None:
    if len(words) > FILTER_LENGTH or len(words.split()) > FILTER_WORDS:
        raise reasons.unfit(
            f"filter: it must have at most {FILTER_WORDS} words and {FILTER_LENGTH} characters"
        )


def expert_on(ledger: Ledger, record: VersionRecord) -> RegistryExpert:
    """Return a version as it is told.

    Raises:
        CorruptRecordError: it is nobody's, or its definition is damaged.
    """
    owner = ledger.owner(record.name)
    if owner is None:
        raise CorruptRecordError(f"{record.name} is nobody's")
    definition = ledger.definition(record)
    return RegistryExpert(
        id=record.id,
        key=record.key,
        name=record.name,
        version=record.version,
        min_runtime_version=definition.min_runtime_version,
        description=definition.description,
        instruction=definition.instruction,
        skills=definition.skills,
        delegates=definition.delegates,
        tags=_tags(record),
        status=record.status,
        owner=_owner(owner),
        created_at=iso8601(record.created_at),
        updated_at=iso8601(record.updated_at),
        integrity=record.integrity,
    )


def _owner(organisation: Organisation) -> Owner:
    return Owner(
        name=organisation.name,
        organization_id=organisation.id,
        created_at=iso8601(organisation.created_at),
    )


def _entry(record: VersionRecord) -> VersionEntry:
    return VersionEntry(
        key=record.key,
        version=record.version,
        tags=_tags(record),
        status=record.status,
        created_at=iso8601(record.created_at),
        integrity=record.integrity,
    )


def _tags(record: VersionRecord) -> tuple[str, ...]:
    return (LATEST, *record.tags) if record.is_latest else record.tags

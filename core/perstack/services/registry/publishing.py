"""Publishing, and what may change of what is published. Each is one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from perstack.domain.registry import (
    LATEST,
    Definition,
    PublishRequest,
    RegistryExpert,
    RegistryKey,
    Status,
    parse_key,
)
from perstack.domain.registry_hosting import MOST_VERSIONS, Holder, Organisation
from perstack.domain.semantic_versions import highest
from perstack.errors import ConflictError
from perstack.ports.registry_ledger import Ledger, VersionRecord
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.services.handle import Handle
from perstack.services.registry import reasons
from perstack.services.registry.access import check_scope
from perstack.services.registry.checks import check_base, check_place, check_tags
from perstack.services.registry.delegations import check_delegates, needing
from perstack.services.registry.shelf import expert_on


class RegistryPublishing:
    """Publishes versions, which never change, and moves their tags and their status.

    Every method raises `RegistryRefusedError` with the reason, `RegistryMissingError` for what is
    not there, and `StorageError`.
    """

    def __init__(self, stores: Handle[Stores], *, clock: Clock, ids: Ids) -> None:
        self._stores = stores
        self._clock = clock
        self._ids = ids

    async def publish(self, request: PublishRequest, holder: Holder) -> RegistryExpert:
        """Publish a version; `latest` is then at the highest one.

        What was unpublished may come again, with the same content and the status that it had.
        A key that may only publish takes no tag from another version: those who follow the tag
        would be led elsewhere.
        """
        check_scope(holder, "publish")
        definition, organisation = request.definition, holder.organisation
        check_place(parse_key(definition.name), organisation)
        check_base(definition)

        def work(ledger: Ledger) -> RegistryExpert:
            self._take_name(ledger, definition.name, organisation)
            before = self._before(ledger, definition)
            check_delegates(ledger, definition)
            record = self._record(definition, before)
            if _takes_tags(ledger, record, request.tags):
                check_scope(holder, "manage")
            try:
                ledger.put(record, definition)
            except ConflictError as error:
                raise reasons.already_published(definition.key) from error
            ledger.set_tags(record, set(request.tags) - {LATEST}, now_ms=record.updated_at)
            return _settled(ledger, record)

        return await self._stores.ask(lambda stores: stores.registry.change(work))

    async def update(
        self,
        key: RegistryKey,
        holder: Holder,
        *,
        tags: tuple[str, ...] | None = None,
        status: Status | None = None,
    ) -> RegistryExpert:
        """Make these the tags of a version, or this its status, or both."""
        if tags is None and status is None:
            raise reasons.unfit("there is nothing to change: give tags or status")
        if tags is not None:
            check_tags(tags)

        def work(ledger: Ledger, record: VersionRecord) -> RegistryExpert:
            now_ms = self._clock.now_ms()
            if tags is not None:
                _check_tagging(record, tags)
                ledger.set_tags(record, tags, now_ms=now_ms)
            if status is not None:
                _check_status(record, status)
                ledger.set_status(record, status, now_ms=now_ms)
            return _settled(ledger, record)

        return await self._manage(key, holder, work)

    async def unpublish(self, key: RegistryKey, holder: Holder) -> RegistryExpert:
        """Remove a version, if no other Expert needs it, and return what it was."""

        def work(ledger: Ledger, record: VersionRecord) -> RegistryExpert:
            if by := needing(ledger, record):
                raise reasons.still_delegated(record.key, by)
            removed = expert_on(ledger, record)
            ledger.unpublish(record, now_ms=self._clock.now_ms())
            _settle(ledger, record.name)
            return removed

        return await self._manage(key, holder, work)

    async def _manage(
        self,
        key: RegistryKey,
        holder: Holder,
        work: Callable[[Ledger, VersionRecord], RegistryExpert],
    ) -> RegistryExpert:
        """Do `work` with a version that the organisation owns."""
        check_scope(holder, "manage")
        if key.version is None:
            raise reasons.unfit(f"a version is needed, such as {key.name}@1.0.0")

        def with_record(ledger: Ledger) -> RegistryExpert:
            owner = ledger.owner(key.name)
            record = ledger.find(key)
            if owner is not None and owner.id != holder.organisation.id:
                raise reasons.not_owned(key.name)
            if record is None:
                raise reasons.not_found(key)
            return work(ledger, record)

        return await self._stores.ask(lambda stores: stores.registry.change(with_record))

    def _take_name(self, ledger: Ledger, name: str, organisation: Organisation) -> None:
        owner = ledger.owner(name)
        if owner is not None:
            if owner.id != organisation.id:
                raise reasons.name_taken(name)
            return
        try:
            ledger.take_name(name, organisation.id)
        except ConflictError as error:
            raise reasons.name_taken(name) from error

    def _before(self, ledger: Ledger, definition: Definition) -> VersionRecord | None:
        """Return what was left of the version when it was unpublished, None if it never was."""
        versions = ledger.versions(definition.name)
        found = next((each for each in versions if each.version == definition.version), None)
        if found is None:
            if len(versions) >= MOST_VERSIONS:
                raise reasons.too_many_versions(definition.name, MOST_VERSIONS)
        elif found.unpublished_at is None:
            raise reasons.already_published(definition.key)
        elif found.integrity != definition.integrity:
            raise reasons.was_other(definition.key)
        return found

    def _record(self, definition: Definition, before: VersionRecord | None) -> VersionRecord:
        now_ms = self._clock.now_ms()
        return VersionRecord(
            id=self._ids.new() if before is None else before.id,
            name=definition.name,
            version=definition.version,
            integrity=definition.integrity,
            size=len(definition.content),
            status="available" if before is None else before.status,
            tags=(),
            is_latest=False,
            created_at=now_ms if before is None else before.created_at,
            updated_at=now_ms,
        )


def _takes_tags(ledger: Ledger, record: VersionRecord, tags: tuple[str, ...]) -> bool:
    """Tell whether a tag is at another version, which would lose it."""
    key = parse_key(record.name)
    tagged = (replace(key, tag=tag) for tag in tags if tag != LATEST)
    return any(ledger.find(each) is not None for each in tagged)


def _check_tagging(record: VersionRecord, tags: tuple[str, ...]) -> None:
    if LATEST in tags:
        raise reasons.latest_by_hand()
    if record.status == "disabled":
        raise reasons.is_disabled(record.key)


def _check_status(record: VersionRecord, status: Status) -> None:
    if status == record.status:
        raise reasons.same_status(record.key, status)
    if record.status == "disabled":
        raise reasons.is_disabled(record.key)
    if status == "available":
        raise reasons.cannot_go_back(record.key)


def _settled(ledger: Ledger, record: VersionRecord) -> RegistryExpert:
    """Move `latest`, and return the version as it is now."""
    _settle(ledger, record.name)
    key = parse_key(record.key)
    found = ledger.find(key)
    if found is None:
        raise reasons.not_found(key)
    return expert_on(ledger, found)


def _settle(ledger: Ledger, name: str) -> None:
    """Let `latest` be at the highest version that may be run, at none if there is none."""
    usable = [
        each.version
        for each in ledger.versions(name)
        if each.unpublished_at is None and each.status != "disabled"
    ]
    ledger.set_latest(name, highest(usable))

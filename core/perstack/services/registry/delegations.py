"""Delegates that are there when something is published, and stay while others need them."""

from __future__ import annotations

from perstack.core_types import CORE_TYPE_NAMES
from perstack.domain.registry import LATEST, Definition, RegistryKey, parse_key
from perstack.errors import UsageError
from perstack.ports.registry_ledger import Delegation, Ledger, VersionRecord
from perstack.services.registry import reasons


def check_delegates(ledger: Ledger, definition: Definition) -> None:
    """Let a definition pass each of whose delegates is there, built in, or itself.

    Raises:
        RegistryRefusedError: one is not found, or is disabled.
    """
    for delegate in definition.delegates:
        try:
            key = parse_key(delegate)
        except UsageError as error:
            raise reasons.delegate_not_found(delegate) from error
        if delegate in CORE_TYPE_NAMES or _is_itself(key, definition):
            continue
        found = ledger.find(key)
        if found is None or found.status == "disabled":
            raise reasons.delegate_not_found(delegate)


def _is_itself(key: RegistryKey, definition: Definition) -> bool:
    return key.name == definition.name and (
        key.version == definition.version or key.wanted_tag == LATEST
    )


def needing(ledger: Ledger, record: VersionRecord) -> list[str]:
    """Return the keys of others that would lead nowhere without this version."""
    others = [
        each
        for each in ledger.versions(record.name)
        if each.unpublished_at is None and each.id != record.id and each.status != "disabled"
    ]
    return list(
        dict.fromkeys(
            each.by.key
            for each in ledger.delegating_to(record.name)
            if each.by.status != "disabled" and _leads_to(each, record, last=not others)
        )
    )


def _leads_to(delegation: Delegation, record: VersionRecord, *, last: bool) -> bool:
    key = delegation.to
    if key.version is not None:
        return key.version == record.version
    return last if key.wanted_tag == LATEST else key.tag in record.tags

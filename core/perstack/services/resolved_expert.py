"""The rules by which one version of the registry becomes an Expert, or does not. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from perstack.config.delegates import check_delegates
from perstack.config.published import expert_of
from perstack.config.report import RefusedConfigError, Report, printable
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import (
    LATEST,
    Definition,
    Origin,
    Pin,
    RegistryExpert,
    RegistryKey,
    Status,
    VersionEntry,
    VersionList,
    content_to_keep,
    parse_key,
)
from perstack.errors import ConfigError, RegistryError, RegistryMissingError, UsageError
from perstack.ports.registry import KeptExpert

_SHOWN: Final = 80
LOCK_SAYS: Final = "the lock file"
LIST_SAYS: Final = "the registry's list of versions"
ANSWER_SAYS: Final = "the registry's own hash"
_CHANGED: Final = (
    "a version never changes, so somebody changed it: do not run it; ask its owner, and who runs "
    "the registry. Another version may do"
)

# Who promised which hash, None where none was said.
Promise = tuple[str, str | None]


def expert_from(asked: ExpertKey, kept: KeptExpert, registry: str) -> Expert:
    """Return the Expert that a version is, under the key that it was asked for by.

    Raises:
        RegistryError: it could not stand in a `perstack.toml`, or its delegates could not.
    """
    definition = kept.definition
    origin = Origin(
        registry=registry, key=definition.key, integrity=definition.integrity, owner=kept.owner
    )
    expert = expert_of(definition, asked, origin)
    report = Report(definition.key, "")
    # By its own name, so that it is told from itself whichever key leads to it.
    named = expert.model_copy(update={"key": ExpertKey(definition.name)})
    check_delegates({named.key: named}, declared=(), report=report)
    try:
        report.raise_problems()
    except RefusedConfigError as error:
        raise RegistryError(
            f"{definition.key} cannot be run: {error.problems[0].message}",
            hint="its author has to publish another version",
        ) from error
    return expert


def definition_of(found: RegistryExpert, key: RegistryKey) -> Definition:
    """Return what the registry answered if it is the version that was asked for.

    Raises:
        RegistryError: it is another one, too large, or no text.
    """
    definition = found.definition
    if (definition.name, definition.version) != (key.name, key.version):
        other = printable(definition.key, longest=_SHOWN)
        raise RegistryError(
            f"the registry answered with {other} where {key} was asked for",
            hint="nothing of it is used; tell who runs the registry",
        )
    content_to_keep(definition)
    return definition


def check_integrity(definition: Definition, promised: Iterable[Promise]) -> None:
    """Refuse a definition that is not what was promised.

    Raises:
        RegistryError: it has another hash.
    """
    found = definition.integrity
    for who, integrity in promised:
        if integrity is not None and integrity != found:
            shown = printable(integrity, longest=_SHOWN)
            raise RegistryError(
                f"{definition.key} is not what {who} says: it should be {shown} and is {found}",
                hint=_CHANGED,
            )


def entry_at(listed: VersionList, key: RegistryKey, registry: str) -> VersionEntry:
    """Return the version that a name or tag leads to.

    Raises:
        RegistryMissingError: it leads to none.
        RegistryError: it leads to none because all are disabled, or the registry says of it what
            cannot be.
    """
    tag = key.wanted_tag or LATEST
    entry = listed.tagged(tag)
    if tag == LATEST and listed.latest is not None:
        entry = listed.of(listed.latest)
    if entry is None and tag == LATEST and listed.all_disabled:
        raise RegistryError(
            f"all versions of {key.name} are disabled in its registry, and are not run",
            hint="its owner has to publish another version",
        )
    if entry is None:
        tags = sorted({each for one in listed.versions for each in one.tags})[:20]
        raise RegistryMissingError(
            f"{key.name} has no version tagged {tag} in the registry at {registry}",
            hint=f"its tags: {', '.join(map(_plain, tags)) or 'none'}; "
            f"perstack versions {key.name} lists all",
            status=404,
        )
    _check_entry(entry, key)
    return entry


def entry_of(listed: VersionList, key: RegistryKey) -> VersionEntry | None:
    """Return what is listed of one version, None if it is not any more.

    Raises:
        RegistryError: the registry says of it what cannot be.
    """
    entry = listed.of(key.version or "")
    if entry is not None:
        _check_entry(entry, key)
    return entry


def _check_entry(entry: VersionEntry, key: RegistryKey) -> None:
    try:
        said = parse_key(f"{key.name}@{entry.version}")
    except UsageError:
        said = None
    if said is None or said.version is None or entry.key != str(said):
        raise RegistryError(
            f"the registry lists {_plain(entry.key)} as a version of {key.name}",
            hint="nothing of it is used; tell who runs the registry",
        )


def check_status(key: RegistryKey, status: Status) -> str | None:
    """Return what is to be warned of, None if nothing is.

    Raises:
        RegistryError: the version is disabled.
    """
    if status == "disabled":
        raise RegistryError(
            f"{key} is disabled in its registry, and is not run",
            hint=f"choose another version: perstack versions {key.name}",
        )
    if status == "deprecated":
        return f"{key} is deprecated: perstack versions {key.name} shows others"
    return None


def pinned_version(
    asked: str, key: RegistryKey, pins: Mapping[str, Pin], registry: str
) -> str | None:
    """Return the version that a key is pinned to for this registry.

    Raises:
        ConfigError: the pin is of another Expert.
    """
    pin = pins.get(asked)
    if pin is None or pin.registry != registry:
        return None
    found = parse_key(pin.key)
    fits = found.version is not None and found.name == key.name
    if not fits or key.version not in (None, found.version):
        raise ConfigError(
            f"the lock file leads from {key} to {found}, which is another Expert",
            hint=f'remove its table [registry."{key}"]',
        )
    return found.version


def pin_of(asked: str, origin: Origin, pins: Mapping[str, Pin]) -> Pin:
    """Return the pin of what a key was resolved to: the old one if it says the same."""
    new = Pin(registry=origin.registry, key=origin.key, integrity=origin.integrity)
    old = pins.get(asked)
    return old if old is not None and old.model_copy(update={"accepted": None}) == new else new


def _plain(text: str) -> str:
    return printable(text, longest=_SHOWN)

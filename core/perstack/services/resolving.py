"""Resolving keys: from what an Expert delegates to, to the Experts that will be run.

Local Experts come first, then what is pinned, then what the registry says. What is kept on this
disk is never downloaded again, whatever is downloaded has to be what was promised, and without a
registry everything that is kept can still be run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import anyio

from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import Pin, RegistryKey, VersionEntry, parse_key
from perstack.errors import (
    PerstackError,
    RegistryError,
    RegistryMissingError,
    RegistryRefusedError,
    RegistryUnreachableError,
)
from perstack.ports.registry import ExpertCache, KeptExpert, Registry
from perstack.services.expert_sources import Disk, Sources, Told
from perstack.services.expert_walk import Walk
from perstack.services.resolved_expert import (
    LIST_SAYS,
    LOCK_SAYS,
    Promise,
    check_integrity,
    check_status,
    entry_at,
    entry_of,
    expert_from,
    pin_of,
    pinned_version,
)

ALL_WITHIN_S: Final = 60.0
AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Resolution:
    """What keys were resolved to: Experts by the key as asked; all pins, old and new."""

    experts: Mapping[ExpertKey, Expert]
    pins: Mapping[str, Pin]
    warnings: tuple[str, ...]


class Resolver:
    """Resolves keys with a registry. `local` are the project's own Experts."""

    def __init__(
        self,
        registry: Registry,
        cache: ExpertCache,
        *,
        local: Mapping[ExpertKey, Expert],
        pins: Mapping[str, Pin],
    ) -> None:
        self._registry = registry
        self._cache = cache
        self._local = local
        self._pins = pins

    async def resolve(self, keys: Iterable[ExpertKey], *, update: bool = False) -> Resolution:
        """Return all Experts of the registry that `keys` lead to, within 60 s.

        With `update`, pins of names and tags are not followed: they move to where those are now.

        Raises:
            RegistryError: one of them cannot be had, must not be run, or is not what it was.
            UsageError: one of `keys` is no key of a registry.
            ConfigError: a pin is of another Expert.
        """
        disk = Disk(self._cache, self._registry.url)
        sources = Sources(self._registry, disk, anyio.current_time() + ALL_WITHIN_S)
        return await _Resolving(sources, self._local, self._pins, update=update).run(keys)


class _Resolving:
    """One resolution under way."""

    def __init__(
        self,
        sources: Sources,
        local: Mapping[ExpertKey, Expert],
        pins: Mapping[str, Pin],
        *,
        update: bool,
    ) -> None:
        self._sources = sources
        self._pins = pins
        self._update = update
        self._walk = Walk(local)
        self._told = Told()

    async def run(self, keys: Iterable[ExpertKey]) -> Resolution:
        experts: dict[ExpertKey, Expert] = {}
        level = self._walk.begin(keys)
        while level:
            found = await self._all(level)
            experts.update((key, found[key]) for key in level)
            level = self._walk.next(found[key] for key in level)
        fresh = {
            key: pin_of(key, one.origin, self._pins)
            for key, one in experts.items()
            if one.origin is not None
        }
        self._told.other.update(self._walk.look_alikes())
        told = self._told.all(self._sources.disk)
        return Resolution(experts, {**self._pins, **fresh}, told)

    async def _all(self, level: Iterable[ExpertKey]) -> dict[ExpertKey, Expert]:
        """Resolve a level at once; keys of one name after each other, so that none is asked twice.

        The first that cannot be resolved ends it.
        """
        by_name: dict[str, list[tuple[ExpertKey, RegistryKey]]] = {}
        for asked in level:
            key = parse_key(asked)
            by_name.setdefault(key.name, []).append((asked, key))
        found: dict[ExpertKey, Expert] = {}
        failures: list[PerstackError] = []
        limiter = anyio.CapacityLimiter(AT_ONCE)
        async with anyio.create_task_group() as group:

            async def resolve(keys: Iterable[tuple[ExpertKey, RegistryKey]]) -> None:
                async with limiter:
                    for asked, key in keys:
                        try:
                            found[asked] = await self._expert(asked, key)
                        except PerstackError as error:
                            failures.append(self._explained(asked, error))
                            group.cancel_scope.cancel()
                            return

            for keys in by_name.values():
                group.start_soon(resolve, keys)
        if failures:
            raise failures[0]
        return found

    async def _expert(self, asked: ExpertKey, key: RegistryKey) -> Expert:
        pinned = pinned_version(asked, key, self._pins, self._sources.url)
        follows = self._update and key.version is None
        version = key.version or (None if follows else pinned)
        kept = await (self._led(key) if version is None else self._fixed(key.at(version)))
        at = key.at(kept.definition.version)
        if (warning := check_status(at, kept.status)) is not None:
            self._told.other.add(warning)
        return expert_from(asked, kept, self._sources.url)

    async def _fixed(self, at: RegistryKey) -> KeptExpert:
        """Return one version; of one that is kept, only its status is asked for."""
        kept = await self._sources.kept(at)
        if kept is None:
            return await self._downloaded(at, self._locked(at))
        check_integrity(kept.definition, self._locked(at))
        try:
            entry = entry_of(await self._sources.versions(at, is_kept=True), at)
        except RegistryUnreachableError:
            self._told.unreached.add(str(at))
            return kept
        except RegistryMissingError:
            entry = None
        except RegistryError as error:
            self._told.other.add(f"{error.message}: {at} as kept on this disk")
            return kept
        if entry is None:
            self._told.gone.add(str(at))
            return kept
        return await self._refreshed(kept, entry)

    async def _led(self, key: RegistryKey) -> KeptExpert:
        """Return the version that a name or tag leads to now, or last led to if none can tell."""
        led = await self._sources.disk.led(key)
        last = key.at(led) if led is not None else key
        before = await self._sources.kept(last) if led is not None else None
        try:
            listed = await self._sources.versions(key, is_kept=before is not None)
        except RegistryUnreachableError as error:
            if before is None:
                raise self._unreached(last, error) from error
            check_integrity(before.definition, self._locked(last))
            self._told.unreached.add(str(last))
            return before
        entry = entry_at(listed, key, self._sources.url)
        at = key.at(entry.version)
        kept = await self._sources.kept(at)
        if kept is None:
            check_status(at, entry.status or "available")
            kept = await self._downloaded(at, [*self._locked(at), (LIST_SAYS, entry.integrity)])
        else:
            check_integrity(kept.definition, self._locked(at))
            kept = await self._refreshed(kept, entry)
        await self._sources.disk.remember(key, entry.version)
        return kept

    async def _downloaded(self, at: RegistryKey, promised: Iterable[Promise]) -> KeptExpert:
        try:
            kept = await self._sources.download(at, promised)
        except RegistryUnreachableError as error:
            raise self._unreached(at, error) from error
        if self._is_damaged(at):
            self._told.other.add(f"what was kept of {at} was damaged: it was downloaded again")
        return kept

    async def _refreshed(self, kept: KeptExpert, entry: VersionEntry) -> KeptExpert:
        check_integrity(kept.definition, [(LIST_SAYS, entry.integrity)])
        if entry.status is None or entry.status == kept.status:
            return kept
        kept = replace(kept, status=entry.status)
        await self._sources.disk.keep(kept)
        return kept

    def _locked(self, at: RegistryKey) -> list[Promise]:
        """Return what pins say of a version, whichever key led to it."""
        return [
            (LOCK_SAYS, pin.integrity)
            for pin in self._pins.values()
            if pin.registry == self._sources.url and pin.key == str(at)
        ]

    def _is_damaged(self, key: RegistryKey) -> bool:
        return not self._sources.disk.damaged.isdisjoint((str(key), key.name))

    def _unreached(
        self, key: RegistryKey, error: RegistryUnreachableError
    ) -> RegistryUnreachableError:
        if not self._is_damaged(key):
            return error
        message = f"what is kept of {key} on this disk is damaged, and {error.message}"
        return RegistryUnreachableError(message, hint=error.hint)

    def _explained(self, asked: ExpertKey, error: PerstackError) -> PerstackError:
        """Return the error with who delegates to what it is about, and what may be meant."""
        if not isinstance(error, RegistryError):
            return error
        by = self._walk.delegator(asked)
        if by is None:
            error.asked = asked
            return error
        if not isinstance(error, RegistryMissingError | RegistryUnreachableError):
            return _reworded(error, f"{by} delegates to {asked}: {error.message}", error.hint)
        guess = self._walk.meant(asked)
        hints = (f"did you mean {guess}?" if guess else None, error.hint)
        return _reworded(
            error,
            f"{by} delegates to {asked}, which is not defined here: {error.message}",
            " ".join(hint for hint in hints if hint) or None,
        )


def _reworded(error: RegistryError, message: str, hint: str | None) -> RegistryError:
    match error:
        case RegistryRefusedError():
            return type(error)(message, hint=hint, status=error.status, reason=error.reason)
        case _:
            return type(error)(message, hint=hint)

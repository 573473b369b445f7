"""Experts of the registry that a project's Experts lead to: found, pinned, accepted.

Only what is reachable from what is asked for is fetched, and nothing is imported, read or asked
for a project whose Experts are all its own.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import anyio
from anyio import to_thread

from perstack.config.builtin import CORE_TYPES
from perstack.config.find import LOCK_NAME
from perstack.config.process_env import process_environment
from perstack.config.report import meant
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import Pin, parse_key
from perstack.errors import (
    RegistryError,
    RegistryMissingError,
    RegistryUnreachableError,
    StorageError,
    UnknownExpertError,
    UsageError,
)

if TYPE_CHECKING:
    from perstack.config.registry_place import RegistryPlace
    from perstack.config.untrusted import Demand
    from perstack.domain.expert import Expert
    from perstack.ports.registry import ExpertCache, Registry
    from perstack.ports.skills import ListedTools
    from perstack.project import Project
    from perstack.services.resolving import Resolution

CLOSE_S: Final = 2.0
_LOG: Final = logging.getLogger(__name__)


def foreign(project: Project, keys: Iterable[ExpertKey]) -> tuple[ExpertKey, ...]:
    """Return the keys that `keys` lead to and that only a registry can know.

    What is fetched already is looked through, too, and is not among them.
    """
    known: Mapping[ExpertKey, Expert] = {**project.fetched, **project.config.experts}
    found: dict[ExpertKey, None] = {}
    seen: set[ExpertKey] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        if (expert := known.get(key)) is not None:
            waiting.extend(expert.delegates)
        elif key not in CORE_TYPES:
            found[key] = None
    return tuple(found)


def may_be_of_registry(key: ExpertKey) -> bool:
    """Tell whether a registry could have an Expert of that key."""
    try:
        parse_key(key)
    except UsageError:
        return False
    return True


def check_startable(project: Project, key: ExpertKey, query: str) -> None:
    """Refuse what can become no job, as far as that is known before a registry is asked.

    Raises:
        UnknownExpertError: it is no Expert here, and its name can be none of a registry.
        UsageError: the query is blank or too long.
    """
    from perstack.services.runs import check_new, check_query

    if not is_fetched(project, key):
        check_new(project.config.experts, key, query)
        return
    check_query(query)
    _check_name(project, key)


def is_fetched(project: Project, key: ExpertKey) -> bool:
    """Tell whether a key means neither one of the project's own Experts nor a built-in one."""
    return key not in project.config.experts and key not in CORE_TYPES


async def fetched(project: Project, keys: Iterable[ExpertKey], *, update: bool = False) -> Project:
    """Return the project with all Experts of the registry that `keys` lead to.

    The configuration itself must be admitted before: it may say which registry is asked. What is
    resolved anew is written to the lock file, if there is a configuration on this disk. With
    `update` tags are followed to where they are now, and nothing is written: see `pin_fetched`.

    Raises:
        UnknownExpertError: one of `keys` is neither an Expert here nor can be one of a registry.
        RegistryError: what is needed cannot be had, or is not what it was.
        ConfigError: the lock file or the registry's address cannot be used.
    """
    asked = tuple(dict.fromkeys(keys))
    for key in asked:
        _check_name(project, key)
    if not foreign(replace(project, fetched={}) if update else project, asked):
        return project
    setting = await to_thread.run_sync(_setting, project)
    try:
        resolution = await _resolved(project, setting, asked, update=update)
    except (RegistryMissingError, RegistryUnreachableError) as error:
        raise _explained(project, asked, error) from error
    told = () if update else await _pinned(project, setting.pins, resolution.pins)
    return replace(
        project,
        fetched={**project.fetched, **resolution.experts},
        listed={**project.listed, **dict(_listed(project, resolution.experts))},
        pins=dict(resolution.pins),
        fetch_warnings=tuple(dict.fromkeys((*project.fetch_warnings, *resolution.warnings, *told))),
    )


async def pin_fetched(project: Project) -> tuple[str, ...]:
    """Write where an update led to the lock file; return a warning where that fails.

    For when all of it is accepted: until then the file's Experts run as they did before.

    Raises:
        ConfigError: what is there is no lock file.
    """
    return await _pinned(project, {}, project.pins)


def carried(project: Project, other: Project) -> Project:
    """Return a project with what was fetched for another reading of the same configuration."""
    listed = {key: other.listed[key] for key in other.fetched if key in other.listed}
    return replace(
        project,
        fetched=other.fetched,
        pins=other.pins,
        fetch_warnings=other.fetch_warnings,
        listed={**project.listed, **listed},
    )


async def completed(project: Project, keys: Iterable[ExpertKey]) -> Project:
    """Return the project with all Experts of the registry that `keys` lead to, all accepted.

    For doors where nobody is asked: what is not accepted is refused, unless the project says that
    whatever there is is.

    Raises:
        UnknownExpertError, RegistryError, ConfigError: as `fetched`.
        UntrustedError: the user has not accepted it; it lists what it would do.
    """
    whole = await fetched(project, keys)
    if whole is project:
        return project
    if project.accepts_registry:
        await to_thread.run_sync(lambda: accept_fetched(whole, by="yes"))
    await to_thread.run_sync(whole.admit, whole.fetched)
    return whole


async def fetch_experts(project: Project, keys: Iterable[ExpertKey]) -> Mapping[ExpertKey, Expert]:
    """Return Experts of the registry and all they lead to, as `completed`; warnings are logged."""
    whole = await completed(project, keys)
    for text in whole.fetch_warnings:
        if text not in project.fetch_warnings:
            _LOG.warning("%s", text)
    return whole.fetched


def accept_fetched(project: Project, *, by: Literal["asked", "yes"]) -> None:
    """Remember that the user accepted what was fetched, and how. Blocks on the disk.

    Raises:
        StorageError: it cannot be written down.
    """
    if not project.fetched:
        return
    project.trust.accept(fetched_demands(project))
    pins = {key: _accepted(project, key, pin, by) for key, pin in project.pins.items()}
    lock = lock_of(project)
    if lock is None or pins == dict(project.pins):
        return
    from perstack.config.lock_pins import write_pins

    # The user's own record counts; the lock only says so to others.
    with suppress(StorageError):
        write_pins(lock, project.config.path.name, pins)


def fetched_demands(project: Project) -> tuple[Demand, ...]:
    """Return what the Experts that were fetched would do, accepted or not."""
    found = project.config.demands(project.fetched.values())
    return tuple(demand for demand in found if demand.kind == "expert")


def _accepted(project: Project, key: str, pin: Pin, by: Literal["asked", "yes"]) -> Pin:
    origin = expert.origin if (expert := project.fetched.get(ExpertKey(key))) else None
    if pin.accepted is not None or origin is None or origin.integrity != pin.integrity:
        return pin
    return pin.model_copy(update={"accepted": by})


def lock_of(project: Project) -> Path | None:
    """Return where pins are kept, None for a configuration that is no file. Blocks on the disk."""
    config = project.config
    if config.url is not None or not config.path.is_file():
        return None
    return config.path.with_name(LOCK_NAME)


@asynccontextmanager
async def open_registry(project: Project) -> AsyncGenerator[Registry]:
    """Open the registry that the project's Experts come from; nothing is asked yet.

    Raises:
        ConfigError: its address cannot be used, or what says it is not accepted.
    """
    registry = await to_thread.run_sync(_registry, project)
    try:
        yield registry
    finally:
        with anyio.move_on_after(CLOSE_S, shield=True):
            await registry.aclose()


def place_of_registry(project: Project) -> RegistryPlace:
    """Return where the project's registry is, and the user's key for it. Blocks on the disk.

    Where what says that is not accepted, no other registry is asked instead: the names that a team
    uses would be looked for elsewhere, and what it publishes be sent there.

    Raises:
        ConfigError: its address cannot be used.
        UntrustedError: a found file or an env file says it, and is not accepted.
    """
    from perstack.config.credentials import signed_in
    from perstack.config.registry_place import registry_place
    from perstack.config.trust import registry_demands
    from perstack.config.untrusted import UntrustedError

    own = registry_demands(project.config.api_base_url)
    if lacking := project.trust.lacking(demands_of_place(project), own=own):
        raise UntrustedError(project.config.path, lacking)
    known = signed_in(process_environment())
    return registry_place(project.env, project.config.api_base_url, signed_in=known)


def demands_of_place(project: Project) -> tuple[Demand, ...]:
    """Return what the project asks for that says which registry is asked."""
    from perstack.config.registry_place import URL_VARIABLE
    from perstack.config.trust import registry_demands

    of_files = (one for one in project.env.demands if one.variable == URL_VARIABLE)
    is_set = project.env.get(URL_VARIABLE, "").strip()  # then perstack.toml is not asked
    return (*(() if is_set else registry_demands(project.config.api_base_url)), *of_files)


# ---------------------------------------------------------------- internals


@dataclass(frozen=True, slots=True)
class _Setting:
    cache: ExpertCache
    pins: Mapping[str, Pin]


def _setting(project: Project) -> _Setting:
    """Read what is on the disk, and load what asks."""
    from importlib import import_module

    from perstack.config.lock_pins import read_pins
    from perstack.storage.registry_cache import DiskExpertCache, cache_folder

    import_module("perstack.services.resolving")
    lock = lock_of(project)
    kept = {} if lock is None else read_pins(lock)
    cache = DiskExpertCache(cache_folder(process_environment()))
    return _Setting(cache, {**kept, **project.pins})


def _registry(project: Project) -> Registry:
    from perstack.integrations.registry_client import HttpRegistry

    return HttpRegistry(place_of_registry(project))


async def _resolved(
    project: Project, setting: _Setting, keys: Iterable[ExpertKey], *, update: bool
) -> Resolution:
    from perstack.services.resolving import Resolver

    async with open_registry(project) as registry:
        local = project.config.experts
        resolver = Resolver(registry, setting.cache, local=local, pins=setting.pins)
        return await resolver.resolve(keys, update=update)


async def _pinned(
    project: Project, before: Mapping[str, Pin], after: Mapping[str, Pin]
) -> tuple[str, ...]:
    """Write the pins if they are new; return a warning where that fails."""
    if dict(before) == dict(after):
        return ()
    lock = await to_thread.run_sync(lock_of, project)
    if lock is None:
        return ()
    from perstack.config.lock_pins import write_pins

    try:
        await to_thread.run_sync(partial(write_pins, lock, project.config.path.name, after))
    except StorageError as error:
        return (f"{error.message}; other versions may be fetched next time",)
    return ()


def _listed(
    project: Project, experts: Mapping[ExpertKey, Expert]
) -> Iterator[tuple[ExpertKey, ListedTools]]:
    """Yield the tools that the lock file lists of those very definitions."""
    for key, expert in experts.items():
        found = project.listed_fetched.get(expert.origin.integrity) if expert.origin else None
        if found is not None:
            yield key, found


def _check_name(project: Project, key: ExpertKey) -> None:
    if is_fetched(project, key) and not may_be_of_registry(key):
        raise UnknownExpertError(key, [*map(str, project.config.experts)])


def _guess(key: ExpertKey, own: list[str]) -> str | None:
    """Return what may be meant; whoever writes @organisation/ or a version knows what there is."""
    if "@" not in key:
        return UnknownExpertError(key, own).hint
    close = meant(key[:1] + key[1:].partition("@")[0], (*CORE_TYPES, *own))
    return f"did you mean {close}?" if close else None


def _explained(project: Project, asked: Iterable[ExpertKey], error: RegistryError) -> RegistryError:
    """Return the error with whom the user may have meant, where a name of theirs was not here."""
    missing = next((key for key in asked if key == error.asked), None)
    if missing is None:
        return error
    guess = _guess(missing, [*map(str, project.config.experts)])
    message = f"Expert {missing!r} not found here, and {error.message}"
    apart = " " if guess is not None and guess.endswith("?") else "; "
    hint = apart.join(part for part in (guess, error.hint) if part)
    if isinstance(error, RegistryMissingError):
        return RegistryMissingError(message, hint=hint, status=error.status, reason=error.reason)
    return RegistryUnreachableError(message, hint=hint)

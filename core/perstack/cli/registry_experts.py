"""Experts of the registry on the command line: fetched, said when that takes long, accepted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from perstack.cli.listeners import say
from perstack.cli.patience import said_if_late
from perstack.config.untrusted import UntrustedError
from perstack.errors import RegistryMissingError, RegistryUnreachableError, UsageError
from perstack.fetching import (
    accept_fetched,
    fetched,
    foreign,
    is_fetched,
    lock_of,
    may_be_of_registry,
    pin_fetched,
)
from perstack.projection.inert import inert

if TYPE_CHECKING:
    from perstack.domain.ids import ExpertKey
    from perstack.domain.registry import Pin
    from perstack.project import Project

_SHOWN: Final = 5


async def complete(
    project: Project, keys: Iterable[ExpertKey], *, yes: bool, update: bool = False
) -> Project:
    """Return the project with the Experts of the registry that `keys` lead to, all accepted.

    What is to be known of them is said on stderr. With `yes` they are accepted, once and for all.

    Raises:
        UnknownExpertError: one of `keys` is neither an Expert here nor can be one of a registry.
        RegistryError: what is needed cannot be had, or is not what it was.
        UntrustedError: the user has not accepted it; it lists what it would do.
    """
    keys = tuple(keys)
    before = await to_thread.run_sync(_pinned, project, update)
    whole = await _fetched(project, keys, update=update)
    if whole is project:
        return project
    for line in _moved(before, whole.pins):
        say(line)
    for warning in whole.fetch_warnings:
        if warning not in project.fetch_warnings:
            say(f"Warning: {warning}")
    if yes:
        await to_thread.run_sync(lambda: accept_fetched(whole, by="yes"))
    try:
        await to_thread.run_sync(whole.admit, whole.fetched)
    except UntrustedError as error:
        _show(whole, error)
        raise
    for warning in await pin_fetched(whole) if update else ():
        say(f"Warning: {warning}")
    return whole


def _show(project: Project, error: UntrustedError) -> None:
    """Show all of the Experts that are not accepted: what was not shown cannot be."""
    from perstack.projection.expert_card import definition_lines
    from perstack.projection.wrapping import wrapped

    for expert in project.fetched.values():
        if not set(project.config.demands([expert])).isdisjoint(error.demands):
            for line in (*wrapped(definition_lines(expert)), ""):
                say(line)


def forget_unreached(project: Project) -> None:
    """Take names and tags out of the lock that no Expert of the file leads to, and say so.

    Such a one was run by name, or is a delegate no more. Nothing else would move it to where it is
    now: when it is run again, it is resolved again. Exact versions stay. Blocks on the disk.

    Raises:
        ConfigError, StorageError: the lock cannot be changed.
    """
    lock = lock_of(project)
    if lock is None:
        return
    from perstack.config.lock_pins import drop_pins, read_pins
    from perstack.domain.registry import parse_key

    loose = {
        key: pin
        for key, pin in read_pins(lock).items()
        if key not in project.fetched and parse_key(key).version is None
    }
    for key in drop_pins(lock, loose):
        was = loose[key].key.rpartition("@")[2]
        say(inert(f"{key} is not held at {was} any more: no Expert here uses it", newlines=False))


def _pinned(project: Project, update: bool) -> Mapping[str, Pin]:
    """Return what may move: what the lock says before an update. Blocks on the disk."""
    lock = lock_of(project) if update else None
    if lock is None:
        return {}
    from perstack.config.lock_pins import read_pins

    return read_pins(lock)


def _moved(before: Mapping[str, Pin], after: Mapping[str, Pin]) -> Iterator[str]:
    """Yield what follows a tag to another version than it was at."""
    for key, pin in after.items():
        old = before.get(key)
        if old is not None and old.key != pin.key:
            was, now = (each.key.rpartition("@")[2] for each in (old, pin))
            yield inert(f"{key} moves from {was} to {now}", newlines=False)


async def _fetched(project: Project, keys: tuple[ExpertKey, ...], *, update: bool) -> Project:
    from perstack.engine.groups import unwrapped

    named = [inert(key, newlines=False) for key in foreign(project, keys)]
    if not named:
        return await fetched(project, keys, update=update)
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    told = f"Asking the registry for {', '.join(named[:_SHOWN])}{more} …"
    whole = project
    with unwrapped():
        async with said_if_late(told):
            whole = await fetched(project, keys, update=update)
    return whole


async def complete_for_agent(project: Project, agent_type: str, *, yes: bool) -> Project:
    """As `complete` for an agent's type, which may also be one of a plugin.

    As at every door, one of the registry is named with its organisation, version or tag.

    Raises:
        UsageError: there is no such type here, and no registry gives it.
        PerstackError: as `complete`.
    """
    from perstack.domain.ids import ExpertKey

    key = ExpertKey(agent_type)
    if not is_fetched(project, key):
        return await complete(project, [key], yes=yes)
    if "@" not in key or not may_be_of_registry(key) or await _is_of_plugin(project, agent_type):
        return project
    try:
        return await complete(project, [key], yes=yes)
    except (RegistryMissingError, RegistryUnreachableError) as error:
        raise UsageError(
            f"Unknown agent type: {agent_type[:100]}",
            hint=f"perstack agent types lists what there is; {error.message}",
        ) from error


async def _is_of_plugin(project: Project, agent_type: str) -> bool:
    from perstack.wiring import has_plugins

    if not await to_thread.run_sync(has_plugins, project.workspace, project.facts):
        return False
    from perstack.agent_wiring import open_agents

    async with open_agents(project.workspace, project, plugins=True) as agents:
        return agents.types.find(agent_type) is not None

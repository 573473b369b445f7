"""Choosing an Expert of the registry and one of its versions, in lines at a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from perstack.cli.prompting import CancelledError, ask, choose, confirm, is_terminal

if TYPE_CHECKING:
    from perstack.cli.registry_asking import Asking
    from perstack.domain.registry import RegistryKey, Status, VersionList

_DESCRIPTION: Final = 40


def need_terminal(usage: str) -> None:
    """Refuse to ask where nobody can be.

    Raises:
        UsageError: there is no terminal; it says what to write instead.
    """
    from perstack.errors import UsageError

    if not is_terminal():
        raise UsageError("there is no terminal to ask at", hint=f"write: {usage}")


def pick_version(asking: Asking, key: str | None) -> tuple[RegistryKey, VersionList]:
    """Ask for an Expert, unless `key` names one, and for one of its versions.

    Raises:
        CancelledError: none is chosen.
        UsageError: what was typed is no key.
        RegistryError: the registry does not say what versions there are.
    """
    from perstack.domain.registry import parse_key
    from perstack.errors import UsageError
    from perstack.projection.expert_card import VERSIONS_HEAD, version_rows

    wanted = parse_key(key if key is not None else _pick_name(asking))
    versions = asking.ask(lambda registry: registry.versions(wanted))
    if wanted.version is not None:
        return wanted, versions
    if not versions.versions:
        raise UsageError(f"{wanted.name} has no version", hint="perstack publish EXPERT")
    title = f"Which version of {wanted.name}?"
    rows = version_rows(versions)
    return wanted.at(choose(title, rows, heading=VERSIONS_HEAD, what="version")), versions


def pick_tags(key: RegistryKey, versions: VersionList) -> tuple[str, ...]:
    """Ask for the tags that a version gets.

    Raises:
        CancelledError: none is given.
    """
    from perstack.cli.listeners import say
    from perstack.domain.registry import LATEST
    from perstack.errors import UsageError
    from perstack.services.publishing import checked_tags, moved_tags

    now = versions.of(key.version or "")
    own = [tag for tag in (now.tags if now else ()) if tag != LATEST]
    say(f"Its tags now, besides {LATEST}: {', '.join(own) or 'none'}")
    while True:
        typed = ask("All tags that it gets, with spaces or commas")
        try:
            tags = checked_tags(typed.replace(",", " ").split())
        except UsageError as error:
            say(f"{error.message}; {error.hint}" if typed else "Type at least one tag.")
            continue
        for tag, version in moved_tags(versions, key.version or "", tags):
            say(f"{tag} moves here from {version}.")
        return tags


def pick_status(key: RegistryKey, status: Status) -> Status:
    """Ask for the status that a version gets: there is no way back.

    Raises:
        CancelledError: none is chosen.
        UsageError: there is none left.
    """
    from perstack.errors import UsageError
    from perstack.services.publishing import checked_status, later_statuses

    later = later_statuses(status)
    if not later:
        raise UsageError(f"{key} is {status}, which is final", hint="publish another version")
    rows = [(each, _MEANS[each]) for each in later]
    return checked_status(choose(f"{key} is {status}. It becomes:", rows, what="status"))


def make_sure(question: str) -> None:
    """Ask whether it is really meant.

    Raises:
        CancelledError: it is not.
    """
    if not confirm(question):
        raise CancelledError


_MEANS: Final[Mapping[Status, str]] = {
    "available": "can be run",
    "deprecated": "can be run, with a warning; there is no way back",
    "disabled": "cannot be run any more; there is no way back",
}


def _pick_name(asking: Asking) -> str:
    """Ask which Expert, offering those of the project, or else those of the registry."""
    own = asking.project.config.experts
    if own:
        rows = [(key, expert.description or "") for key, expert in own.items()]
        return choose("Which Expert?", _cut(rows), others=True)
    from perstack.domain.registry import ExpertQuery

    query = ExpertQuery(sort="updatedAt", order="desc")
    found = asking.ask(lambda registry: registry.search(query))
    rows = [(expert.name, expert.description or "") for expert in found.experts]
    return choose("Which Expert?", _cut(rows), others=True)


def _cut(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    from perstack.projection.cutting import one_line

    return [(name, one_line(description, _DESCRIPTION)) for name, description in rows]

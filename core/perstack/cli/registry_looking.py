"""`perstack search`, `perstack info` and `perstack versions`: what the registry has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from perstack.cli import agent_options as a
from perstack.cli import completing as c
from perstack.cli import options as o
from perstack.cli import registry_asking as r

if TYPE_CHECKING:
    from perstack.domain.registry import (
        ExpertPage,
        ExpertQuery,
        RegistryExpert,
        VersionList,
    )
    from perstack.ports.registry import Registry

_TAKEN: Final = 20
_SORTS: Final = ("name", "version", "createdAt", "updatedAt")
_ORDERS: Final = ("asc", "desc")
_MOST_SKIPPED: Final = 1_000_000

Words = Annotated[
    list[str] | None, typer.Argument(metavar="[WORDS]...", help="In names and descriptions.")
]
Sort = Annotated[
    str,
    typer.Option(
        "--sort",
        metavar="KEY",
        help="name, version, createdAt or updatedAt.",
        autocompletion=c.one_of(*_SORTS),
    ),
]
Order = Annotated[
    str,
    typer.Option(
        "--order", metavar="ORDER", help="asc or desc.", autocompletion=c.one_of(*_ORDERS)
    ),
]
Take = Annotated[int, typer.Option("--take", metavar="N", help="How many, at most 100 (20).")]
Skip = Annotated[int, typer.Option("--skip", metavar="N", help="How many to leave out (0).")]


def search(
    words: Words = None,
    sort: Sort = "name",
    order: Order = "asc",
    take: Take = _TAKEN,
    skip: Skip = 0,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: r.Trust = False,
    as_json: a.Json = False,
) -> None:
    """Find Experts of the registry, each in its latest version.

    Exit codes: 0, also where there is none; 1 the registry cannot be asked.
    """
    query = _query(" ".join(words or ()), sort, order, take, skip)
    asking = r.Asking.of(workspace, config, trust=trust)
    page = asking.ask(lambda registry: registry.search(query))
    if as_json:
        shown = {"total": page.total, "take": take, "skip": skip}
        r.print_json({**shown, "experts": [r.json_of(expert) for expert in page.experts]})
    else:
        _print(_found(page, query))


def info(
    key: r.Key,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: r.Trust = False,
    as_json: a.Json = False,
) -> None:
    """Show an Expert of the registry: all that it would do, be given and be told.

    Exit codes: 0; 1 there is none, or the registry cannot be asked.
    """
    from perstack.domain.registry import parse_key
    from perstack.projection.expert_card import card_lines

    wanted = parse_key(key)
    asking = r.Asking.of(workspace, config, trust=trust)

    async def look(registry: Registry) -> tuple[RegistryExpert, VersionList]:
        return await registry.find(wanted), await registry.versions(wanted)

    expert, versions = asking.ask(look)
    _keep(asking.place.url, expert)
    if as_json:
        r.print_json({**r.json_of(expert), "versions": r.json_of(versions)["versions"]})
        return
    _print(card_lines(expert, versions))
    _say_whose_it_is(key, asking)


def versions(
    key: r.Key,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: r.Trust = False,
    as_json: a.Json = False,
) -> None:
    """List the versions of an Expert of the registry, the newest first.

    Exit codes: 0; 1 there is no such Expert, or the registry cannot be asked.
    """
    from perstack.domain.registry import parse_key
    from perstack.projection.expert_card import VERSIONS_HEAD, version_rows
    from perstack.projection.table_text import in_columns

    wanted = parse_key(key)
    asking = r.Asking.of(workspace, config, trust=trust)
    found = asking.ask(lambda registry: registry.versions(wanted))
    if as_json:
        r.print_json({**r.json_of(found), "total": len(found.versions)})
    elif not found.versions:
        _print([f"{wanted.name} has no versions. To publish one: perstack publish"])
    else:
        _print(in_columns([VERSIONS_HEAD, *version_rows(found)]))


def _keep(url: str, expert: RegistryExpert) -> None:
    """Keep what is shown: who accepts to run that version after this runs what they have read.

    Raises:
        RegistryError: that version is kept with other content.
    """
    from contextlib import suppress

    from perstack.config.process_env import process_environment
    from perstack.errors import StorageError
    from perstack.ports.registry import KeptExpert
    from perstack.storage.registry_cache import DiskExpertCache, cache_folder

    cache = DiskExpertCache(cache_folder(process_environment()))
    with suppress(StorageError):  # what cannot be kept can be read all the same
        cache.keep(url, KeptExpert.of(expert))


def _query(words: str, sort: str, order: str, take: int, skip: int) -> ExpertQuery:
    """Return what is looked for.

    Raises:
        UsageError: it cannot be.
    """
    from typing import get_args

    from perstack.domain.registry import MOST_TAKEN, SORT_KEYS, ExpertQuery, SortOrder
    from perstack.errors import UsageError
    from perstack.services.bounds import check_word

    if not 1 <= take <= MOST_TAKEN:
        raise UsageError(f"--take must be from 1 to {MOST_TAKEN}")
    if not 0 <= skip <= _MOST_SKIPPED:
        raise UsageError(f"--skip must be from 0 to {_MOST_SKIPPED:,}")
    orders: tuple[SortOrder, ...] = get_args(SortOrder)
    return ExpertQuery(
        filter=words.strip() or None,
        sort=check_word(sort, "--sort", SORT_KEYS),
        order=check_word(order, "--order", orders),
        take=take,
        skip=skip,
    )


def _found(page: ExpertPage, query: ExpertQuery) -> Iterator[str]:
    from perstack.projection.expert_card import expert_table

    if not page.experts and query.skip and page.total:
        yield f"There are only {page.total}."
    elif not page.experts and query.filter:
        yield f"No Expert has {query.filter} in its name or description."
        yield "All there are: perstack search"
    elif not page.experts:
        yield "The registry has no Experts yet. To publish one: perstack publish"
    else:
        yield from expert_table(page.experts)
        yield from _rest(page, query)


def _rest(page: ExpertPage, query: ExpertQuery) -> Iterator[str]:
    shown = query.skip + len(page.experts)
    if shown < page.total:
        yield ""
        yield f"{query.skip + 1} to {shown} of {page.total}. More: --skip {shown}"


def _print(lines: Iterable[str]) -> None:
    """Print lines for a reader; at a terminal as wide as it is, and never broken by it."""
    import shutil
    import sys

    from perstack.cli.printing import print_lines
    from perstack.projection.inert import inert
    from perstack.projection.wrapping import wrapped

    shown = (inert(line, newlines=False) for line in lines)
    wide = shutil.get_terminal_size().columns
    print_lines(wrapped(shown, max(wide, 40)) if sys.stdout.isatty() else shown)


def _say_whose_it_is(key: str, asking: r.Asking) -> None:
    from perstack.cli.listeners import say
    from perstack.config.builtin import CORE_TYPES

    if key in asking.project.config.experts:
        say(f"Note: {asking.project.config.path.name} defines {key}, too: that one is run")
    elif key in CORE_TYPES:
        say(f"Note: {key} is built in, too: that one is run")

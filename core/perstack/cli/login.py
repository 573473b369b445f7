"""`perstack login` and `perstack logout`: the key that a registry knows its user by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import options as o
from perstack.cli import registry_asking as r

if TYPE_CHECKING:
    from perstack.config.registry_place import RegistryPlace
    from perstack.ports.registry import Registry

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The registry; by default the one that is used."),
]
KeyStdin = Annotated[bool, typer.Option("--key-stdin", help="Read the key from standard input.")]


def login(
    url: Url = None,
    key_stdin: KeyStdin = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: r.Trust = False,
) -> None:
    """Keep a key for a registry, once the registry has taken it; it is asked for.

    Exit codes: 0, also where it is cancelled; 1 the registry refuses the key or cannot be reached;
    5 the key cannot be written down.
    """
    from perstack.cli.prompting import cancellable
    from perstack.config.credentials import keep_key
    from perstack.config.process_env import process_environment
    from perstack.config.registry_place import RegistryPlace

    where = _where(url, workspace, config, trust)
    with cancellable(asks=not key_stdin):
        key = _key(where.url, from_stdin=key_stdin)
    _taken(RegistryPlace(where.url, key))
    file = keep_key(process_environment(), where.url, key)
    r.print_shown(f"Signed in to {where.url}", f"The key is kept in {file}")
    _say_what_wins(key)


def logout(
    url: Url = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: r.Trust = False,
) -> None:
    """Forget the key for a registry.

    Exit codes: 0, also where there was none; 5 what is kept cannot be changed.
    """
    from perstack.config.credentials import forget_key
    from perstack.config.process_env import process_environment

    where = _where(url, workspace, config, trust)
    forgot = forget_key(process_environment(), where.url)
    r.print_shown(f"Signed out of {where.url}" if forgot else f"No key is kept for {where.url}")
    _say_what_wins(None)


def _taken(place: RegistryPlace) -> None:
    """Ask the registry whether it takes the key.

    Raises:
        RegistryRefusedError: it does not, and says why.
        RegistryError: it cannot be reached, or answers with what cannot be used.
    """
    from http import HTTPStatus

    from perstack.errors import RegistryRefusedError

    try:
        r.asked(place, _check)
    except RegistryRefusedError as error:
        if error.status != HTTPStatus.UNAUTHORIZED:
            raise
        # The usual hint for this is to sign in, which is what was tried.
        raise RegistryRefusedError(
            f"{place.url} does not take this key: {error.reason}",
            hint="copy all of it and try again, or ask who runs the registry for another one",
            status=error.status,
            reason=error.reason,
        ) from error


async def _check(registry: Registry) -> None:
    """Ask for next to nothing: a key that is not known is refused, whatever is asked."""
    from perstack.domain.registry import ExpertQuery

    await registry.search(ExpertQuery(take=1))


def _where(
    url: str | None, workspace: o.Workspace, config: str | None, trust: bool
) -> RegistryPlace:
    """Return the registry that is meant.

    Raises:
        UsageError: no key may be sent to `url`.
    """
    from perstack.config.registry_place import RegistryPlace
    from perstack.config.urls import fault_of_url
    from perstack.errors import UsageError

    if url is None:
        return r.Asking.of(workspace, config, trust=trust).place
    if fault := fault_of_url(url):
        raise UsageError(f"--url {fault}", hint="write the registry's https:// URL")
    return RegistryPlace(url.rstrip("/"), None)


def _key(url: str, *, from_stdin: bool) -> str:
    """Return the key that is typed, which nobody sees, or read.

    Raises:
        UsageError: there is none, or nobody to ask.
        CancelledError: there is none at the terminal.
    """
    import sys

    from perstack.cli.prompting import ask_hidden
    from perstack.errors import UsageError

    if not from_stdin and not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for a key", hint="use --key-stdin")
    key = (sys.stdin.readline() if from_stdin else ask_hidden(f"Key for {url}")).strip()
    if not key:
        raise UsageError("no key was given", hint="the registry's owners give them out")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(
            "the key holds characters that no key has",
            hint="copy it again, without spaces or line breaks",
        )
    return key


def _say_what_wins(key: str | None) -> None:
    from perstack.cli.listeners import say
    from perstack.config.process_env import process_environment
    from perstack.config.registry_place import KEY_VARIABLE

    other = process_environment().get(KEY_VARIABLE, "").strip()
    if other and other != key:
        say(f"Warning: {KEY_VARIABLE} is set, and counts instead of what is kept")

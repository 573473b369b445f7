"""A tool server at an address, spoken to over HTTP.

Knows no HTTP library itself: a run without such a skill loads none.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit
from urllib.request import proxy_bypass_environment  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

import anyio
import anyio.to_thread

from perstack.config.urls import OWN_SERVER_HINT, fault_of_server, place_of
from perstack.domain.expert import McpSseSkill, RemoteSkill
from perstack.errors import ConfigError, SkillError
from perstack.skills.environment import required_value
from perstack.skills.mcp.addresses import Resolve, is_loopback, is_public, resolve
from perstack.skills.mcp.launch import Launch, Streams, Tally, Transport

Kind = Literal["sse", "http"]
_PROXY_SCHEMES: Final = ("http", "https")


@dataclass(frozen=True, slots=True)
class RemoteTarget:
    """Where a server is and what it is sent.

    `proxy` is the URL of a proxy on the way, or None. `refusals` counts the addresses that its
    name stood for and that were not spoken to.
    """

    kind: Kind
    endpoint: str
    headers: dict[str, str] = field(repr=False)
    allow_private: bool
    proxy: str | None = field(default=None, repr=False)
    resolve: Resolve = resolve
    refusals: Tally = field(default_factory=Tally, compare=False)

    @property
    def shown(self) -> str:
        """The endpoint without what follows `?`, which may hold a key."""
        return urlunsplit(urlsplit(self.endpoint)._replace(query="", fragment=""))

    def may_connect(self, address: str) -> bool:
        """Judge an address that the endpoint's name stands for; a refusal is counted."""
        if self._admits(address):
            return True
        self.refusals.add()
        return False

    @property
    def hint(self) -> str:
        """Where the server is asked, and what lets it be one that was refused."""
        hint = f"its server is asked at {self.shown}"
        if self.refusals.count and not self.allow_private:
            hint += f"; {OWN_SERVER_HINT}"
        return hint

    def transport(self, launch: Launch) -> Transport:
        """Return the way to a conversation of its own."""
        return _Conversation(self, launch)

    def _admits(self, address: str) -> bool:
        # A name for this machine must not take a conversation, over http perhaps, off it.
        if place_of(urlsplit(self.endpoint).hostname or "") == "loopback":
            return self.allow_private and is_loopback(address)
        return self.allow_private or is_public(address)


def remote_target(
    name: str, skill: RemoteSkill, env: Mapping[str, str], resolve: Resolve
) -> RemoteTarget:
    """Return what is known of a server before it is spoken to.

    Raises:
        ConfigError: the address cannot be used, or a variable for a header is not set.
    """
    fault = fault_of_server(skill.endpoint, allow_private=skill.allow_private)
    if fault is not None:
        why, hint = fault
        raise ConfigError(f"The endpoint of skill {name} {why}", hint=hint)
    return RemoteTarget(
        kind="sse" if isinstance(skill, McpSseSkill) else "http",
        endpoint=skill.endpoint,
        headers=_headers(name, skill, env),
        allow_private=skill.allow_private,
        proxy=_proxy(skill.endpoint, env),
        resolve=resolve,
    )


def header_variables(skill: RemoteSkill) -> list[str]:
    """Return the names of the variables whose values are sent."""
    bearer = [skill.bearer_token_env] if skill.bearer_token_env else []
    return [*skill.header_env.values(), *bearer]


class _Conversation(Transport):
    def __init__(self, target: RemoteTarget, launch: Launch) -> None:
        self._target = target
        self._launch = launch
        self._over = anyio.Event()

    @property
    def over(self) -> anyio.Event:
        return self._over

    @property
    def announced(self) -> tuple[str, ...]:
        return (self._target.kind, self._target.shown)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Streams]:
        await anyio.to_thread.run_sync(importlib.import_module, "perstack.skills.mcp.session")
        from perstack.skills.mcp.http import UnreachableError, conversation

        try:
            async with conversation(self._target, self._launch, self._over) as streams:
                yield streams
        except UnreachableError as error:
            raise self.not_ready(self._launch.clean(error.words)) from error

    def not_ready(self, why: str) -> SkillError:
        return SkillError(
            f"Skill {self._launch.skill_name} could not be started: {why}",
            hint=self._target.hint,
        )


def _headers(name: str, skill: RemoteSkill, env: Mapping[str, str]) -> dict[str, str]:
    headers = dict(skill.headers)
    for header, variable in skill.header_env.items():
        headers[header] = _sendable(name, variable, env)
    if skill.bearer_token_env:
        headers["Authorization"] = f"Bearer {_sendable(name, skill.bearer_token_env, env)}"
    return headers


def _sendable(name: str, variable: str, env: Mapping[str, str]) -> str:
    value = required_value(name, variable, env).strip()
    if not (value.isascii() and value.isprintable()):
        raise ConfigError(
            f"Skill {name} cannot send environment variable {variable} as a header",
            hint=f"{variable} must be one line of plain letters, digits and signs",
        )
    return value


def _proxy(endpoint: str, env: Mapping[str, str]) -> str | None:
    """Return the proxy that the environment names for an address, None for none.

    Raises:
        ConfigError: it is of a kind that is not spoken; the URL, which may hold a password, is
            not shown.
    """
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    listed = env.get("no_proxy") or env.get("NO_PROXY") or ""
    if place_of(host) == "loopback" or proxy_bypass_environment(host, {"no": listed}):
        return None
    kinds = (f"{parts.scheme}_proxy", "all_proxy")
    names = [each for kind in kinds for each in (kind, kind.upper())]
    name = next((each for each in names if env.get(each)), None)
    if name is None:
        return None
    proxy = env[name] if "://" in env[name] else f"http://{env[name]}"
    if urlsplit(proxy).scheme not in _PROXY_SCHEMES:
        raise ConfigError(f"The proxy in {name} is neither http nor https", hint=f"change {name}")
    return proxy

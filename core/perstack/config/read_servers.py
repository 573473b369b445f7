"""MCP skills of `perstack.toml`: servers that are started here, and servers at an address."""

from __future__ import annotations

from typing import Final, Literal, TypedDict

from perstack.config import limits
from perstack.config.headers import are_too_many, check_header_name, read_headers
from perstack.config.report import printable
from perstack.config.table import Table, given
from perstack.config.urls import fault_of_server
from perstack.config.vocabulary import ELICITATION, SAMPLING
from perstack.domain.expert import Consent, McpHttpSkill, McpSseSkill, McpStdioSkill

# Misspelt, these would leave tools open that their author took away.
SKILL_GATES: Final = ("pick", "omit")
_AUTHORIZATION: Final = "authorization"
_INSTEAD: Final = "name a variable in bearerTokenEnv or headerEnv"


class _Common(TypedDict):
    description: str | None
    rule: str | None
    pick: tuple[str, ...]
    omit: tuple[str, ...]
    required_env: tuple[str, ...]
    allowed_domains: tuple[str, ...]
    lazy_init: bool
    require_approval: tuple[str, ...]
    sampling: Consent
    elicitation: Literal["deny", "ask"]


def read_stdio(name: str, entry: Table) -> McpStdioSkill:
    """Read a skill whose server is started as a process."""
    command = entry.text("command", shortest=1)
    if "command" not in entry:
        entry.problem("command", "must be given, such as npx, uvx or a path")
    package = entry.text("packageName") or None
    args = entry.texts("args", longest=limits.ARGUMENT_LENGTH, empty_items=True) or ()
    if package and args:
        entry.problem("args", f"Skill {printable(name)} has both packageName and args")
    elif not package and not args:
        entry.problem("packageName", f"Skill {printable(name)} has no packageName or args")
    if any("\0" in word for word in (command or "", package or "", *args)):
        entry.problem("command", "must not hold NUL characters")
    read = McpStdioSkill(
        **_read_common(entry),
        command=command or "",
        package_name=package,
        args=args,
    )
    entry.close(gates=SKILL_GATES)
    return read


def read_sse(entry: Table) -> McpSseSkill:
    """Read a skill whose server speaks HTTP with server-sent events."""
    read = McpSseSkill(**_read_common(entry), **_read_address(entry))
    _close_remote(entry)
    return read


def read_http(entry: Table) -> McpHttpSkill:
    """Read a skill whose server speaks streamable HTTP."""
    read = McpHttpSkill(**_read_common(entry), **_read_address(entry))
    _close_remote(entry)
    return read


def read_allowed_domains(entry: Table) -> tuple[str, ...]:
    """Read host names, each exact or with `*.` before it; punycode is refused."""
    return entry.texts("allowedDomains", rule=limits.DOMAIN) or ()


def _read_common(entry: Table) -> _Common:
    domains = read_allowed_domains(entry)
    if domains:
        entry.warn(
            "allowedDomains",
            "limits skills in Perstack's docker runtime only; here it has no effect",
            "take away what the server may do with omit, or make it wait with requireApproval",
        )
    return _Common(
        description=entry.text("description"),
        rule=entry.text("rule"),
        pick=entry.texts("pick") or (),
        omit=entry.texts("omit") or (),
        required_env=entry.texts("requiredEnv", rule=limits.ENV_NAME) or (),
        allowed_domains=domains,
        lazy_init=given(entry.flag("lazyInit"), False),
        require_approval=entry.texts("requireApproval") or (),
        sampling=entry.choice("sampling", SAMPLING) or "ask",
        elicitation=entry.choice("elicitation", ELICITATION) or "ask",
    )


class _Address(TypedDict):
    endpoint: str
    headers: dict[str, str]
    header_env: dict[str, str]
    bearer_token_env: str | None
    allow_private: bool


def _read_address(entry: Table) -> _Address:
    allow_private = given(entry.flag("allowPrivate"), False)
    endpoint = entry.text("endpoint", shortest=1)
    if "endpoint" not in entry:
        entry.problem("endpoint", "must be given: the server's address")
    elif endpoint and (found := fault_of_server(endpoint, allow_private=allow_private)):
        entry.problem("endpoint", *found)
    read = _Address(
        endpoint=endpoint or "",
        headers=read_headers(entry, instead=_INSTEAD),
        header_env=_read_header_env(entry),
        bearer_token_env=entry.text("bearerTokenEnv", rule=limits.ENV_NAME),
        allow_private=allow_private,
    )
    _check_sent_once(entry, read)
    return read


def _read_header_env(entry: Table) -> dict[str, str]:
    table = entry.table("headerEnv")
    if table is None or are_too_many(table):
        return {}
    read: dict[str, str] = {}
    for name in table.keys:
        variable = table.text(name, longest=limits.NAME_LENGTH, rule=limits.ENV_NAME)
        check_header_name(table, name)
        if variable is not None:
            read[name] = variable
    return read


def _check_sent_once(entry: Table, read: _Address) -> None:
    names = [name.lower() for name in (*read["headers"], *read["header_env"])]
    if read["bearer_token_env"] is not None:
        names.append(_AUTHORIZATION)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        key = "headerEnv" if "headerEnv" in entry else "headers"
        entry.problem(key, f"sets {printable(twice[0], longest=80)} twice", "remove one of them")


def _close_remote(entry: Table) -> None:
    if "requiredEnv" in entry:
        entry.warn(
            "requiredEnv",
            "is only checked: a server elsewhere gets no environment",
            "name what it is sent in headerEnv or bearerTokenEnv",
        )
    for key in ("command", "packageName", "args"):
        if key in entry:
            entry.raw(key)
            entry.warn(key, "has no effect: this server is not started here", "remove it")
    entry.close(gates=SKILL_GATES)

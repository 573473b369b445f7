"""Which environment variables a started process gets: an allow-list, never the whole of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from perstack.errors import ConfigError
from perstack.ports.skills import RunContext

RUN_ID: Final = "PERSTACK_RUN_ID"
JOB_ID: Final = "PERSTACK_JOB_ID"

_COMMON: Final = ("PATH", "HOME", "SHELL", "TERM", "TMPDIR", "LANG", "USER", "LOGNAME")
_PROXIES: Final = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "NODE_USE_ENV_PROXY",
)
# Where proxies are, their certificates are often one's own; a server must know them, too.
_CERTIFICATES: Final = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
)
_FOR_SERVERS: Final = (
    *_COMMON,
    *_PROXIES,
    *_CERTIFICATES,
    "NODE_PATH",
    "PERSTACK_PROXY_URL",
    "NPM_CONFIG_PROXY",
    "NPM_CONFIG_HTTPS_PROXY",
)
_PROTECTED: Final = frozenset(
    {
        "PATH",
        "HOME",
        "SHELL",
        "NODE_PATH",
        "NODE_OPTIONS",
        "PERL5LIB",
        "PERL5OPT",
        "RUBYLIB",
        "RUBYOPT",
        "PYTHONPATH",
        "BASH_ENV",
        "ENV",
        "SHELLOPTS",
        "BASHOPTS",
        "IFS",
        RUN_ID,
        JOB_ID,
    }
)
_PROTECTED_PREFIXES: Final = ("LD_", "DYLD_", "BASH_FUNC_")
# What steers git, Python or the network is refused from a model, but a user may require it.
_NOT_FROM_A_MODEL: Final = (*_PROTECTED_PREFIXES, "GIT_", "PYTHON", "PERSTACK_", "NPM_CONFIG_")


def for_server(skill: str, names: Iterable[str], context: RunContext) -> dict[str, str]:
    """Return the environment of a tool server.

    Raises:
        ConfigError: a variable among `names`, which the skill requires, is not set or is empty.
    """
    passed = {name: context.env[name] for name in _FOR_SERVERS if name in context.env}
    passed |= _locale(context)
    for name in names:
        value = required_value(skill, name, context.env)
        if not _is_protected(name, _PROTECTED_PREFIXES):
            passed[name] = value
    return passed | _marks(context)


def required_value(skill: str, name: str, env: Mapping[str, str]) -> str:
    """Return the value of a variable that a skill needs.

    Raises:
        ConfigError: it is not set, or empty.
    """
    value = env.get(name)
    if not value:
        raise ConfigError(
            f"Skill {skill} requires environment variable {name}",
            hint=f"set {name} in the environment or in a file that envPath names",
        )
    return value


def for_command(given: Mapping[str, str], context: RunContext) -> tuple[dict[str, str], list[str]]:
    """Return the environment of an `exec` call and which names of `given` were left out."""
    passed = {name: context.env[name] for name in _COMMON if name in context.env}
    passed |= _locale(context) | _proxies_without_a_password(context)
    refused = [name for name in given if _is_protected(name, _NOT_FROM_A_MODEL) or name in _PROXIES]
    passed |= {name: value for name, value in given.items() if name not in refused}
    return passed | _marks(context), sorted(refused)


def _is_protected(name: str, prefixes: tuple[str, ...]) -> bool:
    upper = name.upper()
    return upper in _PROTECTED or upper.startswith(prefixes)


def _locale(context: RunContext) -> dict[str, str]:
    return {name: value for name, value in context.env.items() if name.startswith("LC_")}


def _proxies_without_a_password(context: RunContext) -> dict[str, str]:
    """A proxy's address may hold a user's name and password, which `exec` must not see."""
    proxies = {name: context.env[name] for name in _PROXIES if name in context.env}
    return {name: value for name, value in proxies.items() if "@" not in value}


def _marks(context: RunContext) -> dict[str, str]:
    """By these a process of a run is recognised, whatever it does."""
    return {RUN_ID: context.run_id, JOB_ID: context.job_id}

"""Where packages come from, as the user's own configuration of npm, uv and pip says.

No host of a registry stands here: the tools are asked, which know their own.
"""

from __future__ import annotations

import configparser
import json
import re
import shutil
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio.to_thread
from pydantic import BaseModel, Field

from perstack.runtimes.docker.commands import run
from perstack.runtimes.docker.news import LOG

_ASK_WITHIN_S: Final = 20.0
_PIP_OWN: Final = (
    "from pip._internal.models.index import PyPI; print(PyPI.url); print(PyPI.file_storage_domain)"
)
_PYTHON_INDEX: Final = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_FURTHER: Final = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL")
# Passed on to builds, as far as they hold no password: what is built in can be read by anybody.
_BUILDS: Final = re.compile(
    r"PIP_(?:INSTALL_ARGS|INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|NO_INDEX|FIND_LINKS)"
    r"|UV_(?:DEFAULT_INDEX|INDEX_URL|INDEX)|npm_config_registry|NPM_CONFIG_REGISTRY"
    r"|(?:HTTPS?|NO)_PROXY|(?:https?|no)_proxy"
)
_PASSWORD: Final = re.compile(r"://[^/\s]*@")


def build_arguments(env: Mapping[str, str]) -> dict[str, str]:
    """Return what of the user's environment builds are told. Blocks on the disk."""
    given = {name: value for name, value in env.items() if _BUILDS.fullmatch(name) and value}
    if not any(name in given for name in _PYTHON_INDEX) and (index := _pip_conf(env)):
        given["PIP_INDEX_URL"] = index
    for name in [name for name, value in given.items() if _PASSWORD.search(value)]:
        LOG.info("build: %s holds a password, so images are built without it", name)
        del given[name]
    return given


@dataclass(frozen=True, slots=True)
class Indexes:
    """Where npx and uvx fetch from: hosts, and files that say so by their places in a home.

    No password stands in a file: where an index wants one, a container does without.
    """

    hosts: tuple[str, ...] = ()
    npmrc: str | None = None
    uv_toml: str | None = None


class _UvIndex(BaseModel):
    """An index of uv's, as its configuration has it."""

    url: str
    default: bool = False


class _UvConf(BaseModel):
    """What of uv's configuration says where packages come from."""

    index: list[_UvIndex] = []
    usual: str | None = Field(default=None, alias="index-url")
    further: list[str] = Field(default_factory=list[str], alias="extra-index-url")


async def find_indexes(commands: Iterable[str], env: Mapping[str, str]) -> Indexes:
    """Return where packages come from, as far as `commands` have what fetches any."""
    names = set(commands)
    npm = await _npm(env) if names & {"npx", "npm"} else []
    python = await _python(env) if names & {"uvx", "uv"} else []
    hosts = tuple(dict.fromkeys(host for host in map(_host, (*npm, *python)) if host))
    if names & {"npx", "uvx"} and not hosts:
        LOG.info("no registry is configured for %s", ", ".join(sorted(names & {"npx", "uvx"})))
    npmrc = f"registry={_without_password(npm[0])}\n" if npm else None
    first = python[0] if python else ""
    uv = f"[[index]]\nurl = {json.dumps(_without_password(first))}\ndefault = true\n"
    return Indexes(hosts, npmrc, uv if python else None)


async def _npm(env: Mapping[str, str]) -> list[str]:
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if env.get(name):
            return [env[name]]
    return (await _said(("npm", "config", "get", "registry"), env)).split()[:1]


async def _python(env: Mapping[str, str]) -> list[str]:
    further = [word for name in _FURTHER for word in env.get(name, "").split()]
    for name in _PYTHON_INDEX:
        if env.get(name):
            return [env[name], *further]
    own = await anyio.to_thread.run_sync(_uv_conf, env)
    further += [one.url for one in own if not one.default]
    index = next((one.url for one in own if one.default), None)
    index = index or await anyio.to_thread.run_sync(_pip_conf, env)
    if index:
        return [index, *further]
    for python in ("python3", "python"):
        if said := (await _said((python, "-c", _PIP_OWN), env)).split():
            first, *files = said
            return [first, *(f"https://{host}" for host in files[:1]), *further]
    return further


async def _said(argv: tuple[str, ...], env: Mapping[str, str]) -> str:
    found = await anyio.to_thread.run_sync(shutil.which, argv[0], 1, env.get("PATH"))
    if found is None:
        return ""
    ran = await run(argv, env, within_s=_ASK_WITHIN_S)
    return ran.out if ran.well else ""


def _uv_conf(env: Mapping[str, str]) -> list[_UvIndex]:
    """Return the indexes of uv's own configuration: the user's, then the machine's."""
    home = Path(env.get("HOME") or "/nonexistent")
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    named = env.get("UV_CONFIG_FILE")
    places = [Path(named)] if named else [config / "uv" / "uv.toml", Path("/etc/uv/uv.toml")]
    found: list[_UvIndex] = []
    for place in places:
        try:
            read = _UvConf.model_validate(tomllib.loads(place.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
        found += read.index
        found += [_UvIndex(url=url) for url in read.further]
        found += [_UvIndex(url=read.usual, default=True)] if read.usual else []
    return found


def _pip_conf(env: Mapping[str, str]) -> str | None:
    home = Path(env.get("HOME") or "/nonexistent")
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    named = env.get("PIP_CONFIG_FILE")
    places = [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", config / "pip" / "pip.conf"]
    places += [Path(named)] if named else []
    read = configparser.RawConfigParser(strict=False)
    try:
        read.read(places, encoding="utf-8")
    except (configparser.Error, OSError, ValueError):
        return None
    for section in ("install", "global"):
        if value := read.get(section, "index-url", fallback=None):
            return value.strip()
    return None


def _without_password(url: str) -> str:
    return _PASSWORD.sub("://", url)


def _host(url: str) -> str | None:
    _, _, plain = url.rpartition("=")  # uv names an index: NAME=URL
    try:
        parts = urlsplit(plain if "://" in plain else url)
    except ValueError:
        return None
    return parts.hostname if parts.scheme == "https" else None

"""Find `perstack.toml` and read it into domain models."""

from __future__ import annotations

import hashlib
import re
import stat
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from perstack.config import limits
from perstack.config.base_tools import check_base_tools
from perstack.config.delegates import check_delegates, check_fallback
from perstack.config.find import ConfigUrl, name_of, not_found
from perstack.config.read_experts import read_experts
from perstack.config.read_provider_tools import doubts_about_tools
from perstack.config.read_settings import (
    read_api_base_url,
    read_env_paths,
    read_settings,
)
from perstack.config.report import ConfigWarning, Report, printable
from perstack.config.table import RawTable, Table
from perstack.config.trust import demands_of, registry_demands
from perstack.config.untrusted import Demand
from perstack.config.urls import leads_elsewhere
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.settings import Settings
from perstack.errors import ConfigError

_SYNTAX_PLACE: Final = re.compile(r" ?\(at (?:line (\d+), column (\d+)|end of document)\)$")
_KEY_PART: Final = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_LONG_KEY: Final = re.compile(rf"(?<![\w\-\"'])(?:{_KEY_PART}[ \t]*\.[ \t]*){{{limits.KEY_PARTS}}}")


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """What one reading of a configuration file gave.

    `text_hash` is the SHA-256 of its bytes. `model_given` tells a model that was written from one
    that was filled in for the provider, `scenario_typed` and `runtime_typed` what the command line
    says from what the file does. A remote configuration has a `url`, and a `path` that no file is
    at: what is relative to its folder is relative to the workspace. `api_base_url` is where the
    registry of Experts is, None for the usual one.
    """

    path: Path
    text_hash: str
    settings: Settings
    experts: dict[ExpertKey, Expert]
    env_paths: tuple[str, ...]
    warnings: tuple[ConfigWarning, ...] = ()
    model_given: bool = False
    scenario_typed: bool = False
    runtime_typed: bool = False
    api_base_url: str | None = None
    url: ConfigUrl | None = field(default=None, repr=False)

    @property
    def argument(self) -> str:
        """What another program is told with `--config`."""
        return self.url or str(self.path)

    @property
    def shown_source(self) -> str:
        """The file or URL as it may be shown and stored."""
        if self.url is None:
            return name_of(self.path)
        from perstack.config.remote import shown_url

        return shown_url(self.url)

    def demands(self, experts: Iterable[Expert] | None = None) -> tuple[Demand, ...]:
        """Return what its settings ask the user for, and the `experts`, by default its own.

        What was typed is nothing that the file asks for.
        """
        settings = self.settings
        if self.scenario_typed:
            provider = settings.provider.model_copy(update={"scenario": None})
            settings = settings.model_copy(update={"provider": provider})
        if self.runtime_typed:
            typed = settings.runtime.model_copy(update={"name": "perstack"})
            settings = settings.model_copy(update={"runtime": typed})
        found = demands_of(self.experts.values() if experts is None else experts, settings)
        return (*found, *registry_demands(self.api_base_url))

    @property
    def redirects_key(self) -> bool:
        """Whether the vendor's key would go to a host that is neither the vendor's nor local."""
        return leads_elsewhere(self.settings.provider.base_url)


def load_source(source: Path | ConfigUrl, *, workspace: Path) -> LoadedConfig:
    """Read a configuration file, or fetch it. Blocks on the disk or the network.

    Raises:
        ConfigError: as for `load_config`, or the URL is not allowed or cannot be fetched.
    """
    return parse_source(source, read_source(source), workspace=workspace)


def read_source(source: Path | ConfigUrl) -> bytes:
    """Return the bytes of a configuration file, or of what is at its URL.

    Raises:
        ConfigError: as for `read_config`, or the URL is not allowed or cannot be fetched.
    """
    if isinstance(source, Path):
        return read_config(source)
    from perstack.config.remote import ConfigFetcher

    return ConfigFetcher().fetch(source)


def parse_source(source: Path | ConfigUrl, data: bytes, *, workspace: Path) -> LoadedConfig:
    """Make models of the bytes of `read_source`; a remote one is at home in the `workspace`.

    Raises:
        ConfigError: as for `load_config`.
    """
    if isinstance(source, Path):
        return parse_config(source, data)
    from perstack.config.remote import place_of_remote

    return parse_config(place_of_remote(workspace, source), data, url=source)


def load_config(path: Path) -> LoadedConfig:
    """Read a configuration file. Blocks on the disk.

    Raises:
        ConfigError: it cannot be read, is not TOML, or holds something that cannot be used. All
            problems are told at once, each with its key, line and remedy.
    """
    return parse_config(path, read_config(path))


def read_config(path: Path) -> bytes:
    """Return the file's bytes.

    Raises:
        ConfigError: it is missing, unreadable, too large or no regular file.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{name_of(path)} is not a file", hint="give the path of a TOML file")
        with path.open("rb") as file:
            data = file.read(limits.FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise not_found(path) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ConfigError(
            f"{name_of(path)} cannot be read: {reason or printable(str(error))}",
            hint="check the file's owner and permissions",
        ) from error
    if len(data) > limits.FILE_BYTES:
        raise ConfigError(
            f"{name_of(path)} is larger than {limits.FILE_BYTES:,} bytes",
            hint="is it the right file? Split the team over several files",
        )
    return data


def parse_config(path: Path, data: bytes, *, url: ConfigUrl | None = None) -> LoadedConfig:
    """Make models of the file's bytes; `path`, or the `url` it came from, only names it.

    Raises:
        ConfigError: as for `load_config`.
    """
    name = _name(path, url)
    text = _decode(name, data)
    report = Report(name, text)
    top = Table(parse_toml(name, text), (), report)
    settings = read_settings(top)
    env_paths = read_env_paths(top)
    api_base_url = read_api_base_url(top)
    table = top.table("experts")
    experts = read_experts(table)
    check_delegates(experts, declared=table.keys if table else (), report=report)
    check_fallback(
        settings.coordination.dispatcher, declared=table.keys if table else (), report=report
    )
    check_base_tools(experts.values(), report, replaced=bool(settings.base_skill_command))
    for doubt in doubts_about_tools(experts, settings.provider.name):
        report.warn(*doubt)
    top.close()
    report.raise_problems()
    return LoadedConfig(
        path=path,
        text_hash=hashlib.sha256(data).hexdigest(),
        settings=settings,
        experts=experts,
        env_paths=env_paths,
        warnings=report.warnings,
        model_given="model" in top,
        api_base_url=api_base_url,
        url=url,
    )


def _name(path: Path, url: ConfigUrl | None) -> str:
    if url is None:
        return name_of(path)
    from perstack.config.remote import shown_url

    return shown_url(url)


def _decode(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{name}: line {line} is not UTF-8 text",
            hint="save the file with the encoding UTF-8",
        ) from error


def parse_toml(name: str, text: str) -> RawTable:
    """Return the top table of a TOML text; `name` is its file's.

    Raises:
        ConfigError: it is no TOML, or would take too long to read.
    """
    # tomllib's time grows with the square of a dotted key's parts, its stack with nesting.
    if found := _LONG_KEY.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ConfigError(
            f"{name}: line {line} has a key of more than {limits.KEY_PARTS} parts",
            hint=f"shorten line {line}",
        )
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(
            f"{name} is nested too deeply", hint="remove some of its brackets"
        ) from error
    except ValueError as error:
        raise _syntax_error(name, str(error)) from error


def _syntax_error(name: str, message: str) -> ConfigError:
    place = _SYNTAX_PLACE.search(message)
    what = printable(message[: place.start()] if place else message, longest=160)
    if place is None or place.group(1) is None:
        where, hint = "at its end", 'look for a string, a """ or a bracket that is not closed'
    else:
        where = f"at line {place.group(1)}, column {place.group(2)}"
        hint = f"correct line {place.group(1)}; text needs quotes, and \\ in it is written \\\\"
    return ConfigError(f"{name} is not valid TOML {where}: {what}", hint=hint)

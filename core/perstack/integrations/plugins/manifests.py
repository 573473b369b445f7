"""The manifest in a plugin's folder: which module is the plugin, read without running anything.

`plugin.toml`, or a `package.json` as upstream has it whose `module` or `main` is a Python file.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perstack.domain.plugins import NAME_PATTERN
from perstack.integrations.plugins.content import Content
from perstack.ports.plugins import NoPluginError

TOML: Final = "plugin.toml"
JSON: Final = "package.json"
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_SHORT: Final = 200
_LONG: Final = 2_000


@dataclass(frozen=True, slots=True)
class FolderManifest:
    """What a folder says it is. `problem` says why its code cannot be run here."""

    name: str
    version: str
    description: str | None
    module: str
    entry: str
    problem: str | None = None


class _Toml(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=f"^{NAME_PATTERN}$")
    version: str = Field(min_length=1, max_length=_SHORT)
    description: str | None = Field(None, max_length=_LONG)
    module: str = "plugin"
    entry: str = "plugin"


class _Json(BaseModel):
    name: str = Field(pattern=f"^{NAME_PATTERN}$")
    version: str = Field(min_length=1, max_length=_SHORT)
    description: str | None = Field(None, max_length=_LONG)
    module: str | None = None
    main: str | None = None


def read_manifest(content: Content) -> FolderManifest:
    """Return what the folder says it is.

    Raises:
        NoPluginError: it says nothing, or what cannot be read.
    """
    if TOML in content.files:
        return _from_toml(content.files)
    if JSON in content.files:
        return _from_json(content.files)
    raise NoPluginError(f"{content.folder.name} has neither {TOML} nor {JSON}")


def _from_toml(files: Mapping[str, bytes]) -> FolderManifest:
    try:
        read = _Toml.model_validate(tomllib.loads(files[TOML].decode()))
    except ValidationError as error:
        raise NoPluginError(f"{TOML}: {_first(error)}") from error
    except (ValueError, RecursionError) as error:
        raise NoPluginError(f"{TOML} cannot be read: {str(error)[:_SHORT]}") from error
    if not _MODULE.fullmatch(read.module) or not read.entry.isidentifier():
        raise NoPluginError(f"{TOML}: module and entry must be Python names")
    problem = None if _has(files, read.module) else f"it has no module {read.module}"
    return FolderManifest(
        read.name, read.version, read.description, read.module, read.entry, problem
    )


def _from_json(files: Mapping[str, bytes]) -> FolderManifest:
    try:
        read = _Json.model_validate(json.loads(files[JSON]))
    except ValidationError as error:
        raise NoPluginError(f"{JSON}: {_first(error)}") from error
    except (ValueError, RecursionError) as error:
        raise NoPluginError(f"{JSON} cannot be read: {str(error)[:_SHORT]}") from error
    file = PurePosixPath(read.module or read.main or "index.js")
    module = ".".join(file.with_suffix("").parts)
    problem = None
    if file.suffix != ".py":
        problem = f"{file.name!a} is no Python file: this program runs no JavaScript"
    elif not _MODULE.fullmatch(module) or not _has(files, module):
        problem = f"it has no module {str(file)!a}"
    return FolderManifest(read.name, read.version, read.description, module, "plugin", problem)


def _has(files: Mapping[str, bytes], module: str) -> bool:
    path = module.replace(".", "/")
    return f"{path}.py" in files or f"{path}/__init__.py" in files


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, found['loc'])) or 'it'}: {found['msg']}"

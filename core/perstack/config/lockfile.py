"""`perstack.lock`: the tools of each Expert's skills, as their servers listed them.

`perstack install` writes it beside the configuration. It holds for exactly the bytes that it was
made from; a run that finds it valid knows its tools without starting a server. What the same file
says of Experts of a registry is `lock_pins`'s.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from perstack.config.find import LOCK_NAME, name_of
from perstack.config.kept import skill_table
from perstack.config.load import LoadedConfig, parse_toml
from perstack.config.toml_text import fits_toml, toml_key, toml_lines
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.errors import ConfigError, StorageError

LOCK_VERSION: Final = "1"
INSTALL: Final = "perstack install"
_RIGHTS: Final = 0o777
_MOST_BYTES: Final = 16 * 1024 * 1024
_TOP: Final = "# Written by `perstack install`. Runs take from it which tools there are."
_OBJECT: Final[TypeAdapter[dict[str, JsonValue]]] = TypeAdapter(dict[str, JsonValue])


class _Part(BaseModel):
    """What a lock of another version of this format may say besides is left alone."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", strict=True, alias_generator=to_camel, defer_build=True
    )


@dataclass(frozen=True, slots=True)
class LockedTool:
    """A tool under the name that its skill has for it."""

    skill_name: str
    name: str
    description: str
    input_schema: dict[str, JsonValue]


class _WrittenTool(_Part):
    skill_name: str
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str = ""
    input_schema: dict[str, JsonValue] | str


class _LockedExpert(_Part):
    integrity: str | None = None
    tool_definitions: list[_WrittenTool] = []


class _Written(_Part):
    version: Literal["1"]
    config_path: str
    content_hash: str | None = None
    experts: dict[str, _LockedExpert] = {}


@dataclass(frozen=True, slots=True)
class Lock:
    """What a lock file says. `config_name` and `text_hash` are of the file it was made from.

    `integrity` is that of the definitions of those Experts which are a registry's.
    """

    config_name: str
    text_hash: str | None
    tools: Mapping[ExpertKey, tuple[LockedTool, ...]]
    integrity: Mapping[ExpertKey, str] = field(default_factory=dict[ExpertKey, str])

    @property
    def is_of_tools(self) -> bool:
        """Whether it says something of tools: one that a run wrote has pins alone."""
        return self.text_hash is not None or bool(self.tools)


def lock_path(config: LoadedConfig) -> Path | None:
    """Return where the configuration's lock is, None for one that is not on this disk."""
    return None if config.url is not None else config.path.with_name(LOCK_NAME)


def read_lock(path: Path) -> Lock | None:
    """Read a lock file, None if there is none. Blocks on the disk.

    Raises:
        ConfigError: it cannot be read, or is no lock file.
    """
    data = read_bytes(path)
    if data is None:
        return None
    name = name_of(path)
    try:
        top = parse_toml(name, data.decode())
        written = _Written.model_validate(top)
        tools = {
            ExpertKey(key): tuple(_tool(tool) for tool in expert.tool_definitions)
            for key, expert in written.experts.items()
        }
    except ConfigError:
        raise
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(step) for step in found["loc"])
        raise invalid_lock(name, f"{where}: {found['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise invalid_lock(name, "it is not UTF-8 text, or nested too deeply") from error
    integrity = {
        ExpertKey(key): expert.integrity
        for key, expert in written.experts.items()
        if expert.integrity is not None
    }
    return Lock(written.config_path, written.content_hash, tools, integrity)


def lock_text(
    config: LoadedConfig,
    tools: Mapping[ExpertKey, Iterable[LockedTool]],
    *,
    now_ms: int,
    redact: Callable[[str], str],
) -> str:
    """Return the lock file of `config`, whose Experts have `tools`.

    What the configuration says is written without secrets; `tools` must hold none.
    """
    lines = [
        _TOP,
        *toml_lines(
            {
                "version": LOCK_VERSION,
                "generatedAt": now_ms,
                "configPath": config.path.name,
                "contentHash": config.text_hash,
            }
        ),
    ]
    for key, expert in config.experts.items():
        lines += ["", f"[{toml_key('experts', key)}]", *toml_lines(_clean(_head(expert), redact))]
        for name, skill in expert.skills.items():
            lines += ["", f"[{toml_key('experts', key, 'skills', name)}]"]
            lines += toml_lines(_clean(skill_table(skill), redact))
        for tool in tools.get(key, ()):
            lines += ["", f"[[{toml_key('experts', key, 'toolDefinitions')}]]"]
            lines += toml_lines(_definition(tool))
    return "\n".join([*lines, ""])


def write_lock(path: Path, text: str) -> None:
    """Put `text` in the place of the lock file; it is whole at any moment. Blocks on the disk.

    Who could read the file still can; a new one has the rights that the umask leaves.

    Raises:
        StorageError: it cannot be written; what was there still is.
    """
    draft = path.with_name(f".{LOCK_NAME}.{secrets.token_hex(8)}")
    try:
        try:
            with draft.open("xb") as file:
                if path.exists():
                    os.fchmod(file.fileno(), path.stat().st_mode & _RIGHTS)
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(
            f"{name_of(path)} cannot be written: {error.strerror}",
            hint="it belongs beside the configuration: make that folder writable",
        ) from error


def read_bytes(path: Path) -> bytes | None:
    """Return what is in the file, None if there is none. Blocks on the disk.

    Raises:
        ConfigError: it cannot be read, or is larger than 16 MB.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise invalid_lock(name_of(path), "it is no regular file")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise invalid_lock(name_of(path), f"it cannot be read: {error.strerror}") from error
    if len(data) > _MOST_BYTES:
        raise invalid_lock(name_of(path), f"it is larger than {_MOST_BYTES:,} bytes")
    return data


def _tool(written: _WrittenTool) -> LockedTool:
    schema = written.input_schema
    if isinstance(schema, str):
        schema = _OBJECT.validate_json(schema)
    return LockedTool(written.skill_name, written.name, written.description, schema)


def invalid_lock(name: str, why: str) -> ConfigError:
    """Return the error for a file of that name that cannot be used."""
    return ConfigError(f"{name} is no lock file: {why}", hint=f"write it anew: {INSTALL}")


def _head(expert: Expert) -> dict[str, JsonValue]:
    said = {"description": expert.description} if expert.description is not None else {}
    if expert.origin is not None:
        said["integrity"] = expert.origin.integrity
    return {
        "key": expert.key,
        "name": expert.name,
        "version": expert.version,
        **said,
        "instruction": expert.instruction,
        "delegates": [*expert.delegates],
        "tags": [*expert.tags],
    }


def _definition(tool: LockedTool) -> dict[str, JsonValue]:
    schema: JsonValue = tool.input_schema
    # TOML has no null: what holds one is written as JSON, in a string.
    return {
        "skillName": tool.skill_name,
        "name": tool.name,
        **({"description": tool.description} if tool.description else {}),
        "inputSchema": schema if fits_toml(schema) else json.dumps(schema),
    }


def _clean(table: dict[str, JsonValue], redact: Callable[[str], str]) -> dict[str, JsonValue]:
    return {key: _cleaned(value, redact) for key, value in table.items()}


def _cleaned(value: JsonValue, redact: Callable[[str], str]) -> JsonValue:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_cleaned(item, redact) for item in value]
    return _clean(value, redact) if isinstance(value, dict) else value

"""Checking and writing a configuration file from another program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from perstack.config.load import load_config, parse_config
from perstack.config.report import RefusedConfigError
from perstack.config.toml_text import fits_toml, toml_key, toml_lines
from perstack.errors import ConfigError
from perstack.storage.new_file import new_file

Table = Mapping[str, JsonValue]


class Validation(NamedTuple):
    """Whether a configuration can be used, and if not, why: each error is `key (line): what`."""

    valid: bool
    errors: tuple[str, ...]


def validate_config(config: str | Path) -> Validation:
    """Tell whether the file at `config` can be used, and all that is wrong. Blocks on the disk."""
    try:
        load_config(Path(config))
    except RefusedConfigError as error:
        return Validation(False, tuple(str(problem) for problem in error.problems))
    except ConfigError as error:
        return Validation(False, (error.message,))
    return Validation(True, ())


def save_config(config: str | Table, path: str | Path) -> Path:
    """Write a configuration and return where it is; what cannot be used is not written.

    A text is written as it is, with its comments. A table, as `tomllib` reads one, has none. The
    file is there whole or, if anything fails, as it was before. Blocks on the disk.

    Raises:
        ConfigError: it could not be read again: the message has every problem.
        StorageError: the file cannot be written.
    """
    target = Path(path).absolute()
    text = config if isinstance(config, str) else as_toml(config)
    parse_config(target, text.encode("utf-8", "surrogatepass"))
    # A link stays one.
    with new_file(target.resolve(), replaces=True, shared=True) as file:
        file.write(text)
    return target


def as_toml(table: Table) -> str:
    """Return a table as TOML: its own values first, then the tables in it under their headers.

    Raises:
        ConfigError: it holds what TOML cannot.
    """
    if not fits_toml(dict(table)):
        raise ConfigError(
            "the configuration holds what TOML cannot: nothing, or a number too large",
            hint="leave out what is not set",
        )
    return "\n".join(_lines(table, ())).lstrip("\n") + "\n"


def _lines(table: Table, path: tuple[str, ...]) -> Iterator[str]:
    """Yield a table that is found at `path`."""
    own = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if path and (own or not table):
        yield f"\n[{toml_key(*path)}]"
    yield from toml_lines(own)
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _lines(value, (*path, key))

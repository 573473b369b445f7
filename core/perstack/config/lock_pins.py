"""What `perstack.lock` says of Experts of a registry: to which version each key was resolved.

`[registry."KEY AS ASKED"]` tables stand at the end of the file and hold whatever the configuration
is: what was resolved once stays what it was until somebody asks for more. Nothing else of the file
is touched by writing them, nor are they by writing the rest.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Generator, Iterable, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Annotated, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from perstack.config.file_locks import is_taken
from perstack.config.find import name_of
from perstack.config.load import parse_toml
from perstack.config.lockfile import LOCK_VERSION, invalid_lock, read_bytes, write_lock
from perstack.config.report import printable
from perstack.config.table import RawTable
from perstack.config.toml_text import toml_key, toml_lines
from perstack.domain.registry import Pin, RegistryKey, parse_key
from perstack.errors import ConfigError, StorageError, UsageError

_TABLE: Final = "registry"
_TOP: Final = "# Which version each Expert of a registry is, and the hash of what it holds."
_HEADER: Final = re.compile(r"^[ \t]*\[[ \t]*registry[ \t]*[.\]]", re.MULTILINE)
_MOST_PINS: Final = 4_096
_SHOWN: Final = 80
_LOCK_WITHIN_S: Final = 10.0

_Tables = MutableMapping[str, object]


class _Written(BaseModel):
    """What a later version may say of a pin besides is left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, defer_build=True)

    registry: Annotated[str, Field(max_length=2_048)]
    key: Annotated[str, Field(max_length=1_024)]
    integrity: Annotated[str, Field(pattern=r"^sha256-[0-9a-f]{64}$")]
    accepted: Literal["asked", "yes"] | None = None


_PINS: Final = TypeAdapter(
    Annotated[dict[str, _Written], Field(max_length=_MOST_PINS)],
    config=ConfigDict(strict=True, defer_build=True),
)


def read_pins(lock: Path) -> dict[str, Pin]:
    """Return the pins of a lock file, by key as asked; none if there is no file. Blocks.

    Raises:
        ConfigError: it cannot be read, is no TOML, or holds a pin that cannot be meant.
    """
    return _pins_of(lock, _parsed(lock, _text_of(lock)))


def write_pins(lock: Path, config_name: str, pins: Mapping[str, Pin]) -> None:
    """Write `pins` into the lock file, which is made if there is none. Blocks on the disk.

    Pins that others wrote meanwhile stay, and so does what was accepted of the same content;
    everything else in the file stays byte for byte. `config_name` is the name of the
    configuration that a file is made for.

    Raises:
        ConfigError: what is there is no lock file.
        StorageError: it cannot be written; what was there still is.
    """
    with _alone(lock):
        text = _text_of(lock)
        there = _pins_of(lock, _parsed(lock, text))
        wanted = {key: _joined(there.get(key), pin) for key, pin in pins.items()}
        changed = {key: pin for key, pin in wanted.items() if there.get(key) != pin}
        if not changed:
            return
        if len(there.keys() | changed.keys()) > _MOST_PINS:
            raise invalid_lock(name_of(lock), f"it would have more than {_MOST_PINS:,} pins")
        write_lock(
            lock, _with_pins(lock, text if text.strip() else _empty(config_name), there, changed)
        )


def drop_pins(lock: Path, pins: Mapping[str, Pin]) -> Sequence[str]:
    """Take out of the lock file those of `pins` that still say the same, and return their keys.

    Everything else in the file stays byte for byte. Blocks on the disk.

    Raises:
        ConfigError: what is there is no lock file.
        StorageError: it cannot be written; what was there still is.
    """
    with _alone(lock):
        text = _text_of(lock)
        there = _pins_of(lock, _parsed(lock, text))
        gone = [key for key, pin in pins.items() if there.get(key) == pin]
        if gone:
            write_lock(lock, _without_pins(lock, text, gone))
    return gone


def write_tools(lock: Path, text: str) -> None:
    """Put `text` in the place of the lock file, with the pins that the file has. Blocks.

    Pins of a file that cannot be read are lost: this is how one is written anew.

    Raises:
        StorageError: it cannot be written; what was there still is.
    """
    with _alone(lock):
        try:
            before = _text_of(lock)
            pins = _pins_of(lock, _parsed(lock, before))
        except ConfigError:
            before, pins = "", {}
        tail = _tail_of(before)
        if not _says(lock, tail, _tables_in(_parsed(lock, before)), like=""):
            tail = _appended(text, pins)
        write_lock(lock, text + tail)


def _text_of(lock: Path) -> str:
    data = read_bytes(lock)
    try:
        return "" if data is None else data.decode()
    except UnicodeDecodeError as error:
        raise invalid_lock(name_of(lock), "it is not UTF-8 text") from error


def _parsed(lock: Path, text: str) -> RawTable:
    return parse_toml(name_of(lock), text)


def _pins_of(lock: Path, top: RawTable) -> dict[str, Pin]:
    try:
        written = _PINS.validate_python(top.get(_TABLE, {}))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(printable(str(step), longest=_SHOWN) for step in (_TABLE, *found["loc"]))
        raise invalid_lock(name_of(lock), f"{where}: {found['msg']}") from error
    for asked, pin in written.items():
        if (fault := _fault(asked, pin.key)) is not None:
            where = f"{_TABLE}.{printable(asked, longest=_SHOWN)}"
            raise invalid_lock(name_of(lock), f"{where}: {fault}")
    return {asked: Pin.model_validate(pin.model_dump()) for asked, pin in written.items()}


def _fault(asked: str, resolved: str) -> str | None:
    """Return why one key cannot have been resolved to the other, None if it can."""
    try:
        wanted, found = parse_key(asked), parse_key(resolved)
    except UsageError as error:
        return error.message
    if found.version is None:
        return f"{resolved} is no version of an Expert"
    if not _leads_to(wanted, found):
        return f"{asked} is never {resolved}"
    return None


def _leads_to(asked: RegistryKey, found: RegistryKey) -> bool:
    return asked.name == found.name and asked.version in (None, found.version)


def _joined(there: Pin | None, pin: Pin) -> Pin:
    """Return the new pin; what was accepted of the same content stays accepted."""
    if there is None or pin.accepted is not None or there.accepted is None:
        return pin
    kept = pin.model_copy(update={"accepted": there.accepted})
    return kept if kept == there else pin


def _with_pins(lock: Path, text: str, there: Mapping[str, Pin], changed: Mapping[str, Pin]) -> str:
    """Return the text with the changed pins, and make sure that it says that and nothing else."""
    before, tables = _split(text)
    in_place = {key: pin for key, pin in changed.items() if key in there}
    try:
        tables = _edited(tables, in_place) if in_place else tables
    except Exception as error:  # of any kind, for files that were edited by hand
        raise _unwritable(lock) from error
    new = before + tables
    new += _appended(new, {key: pin for key, pin in changed.items() if key not in there})
    meant = {**_tables_in(_parsed(lock, text))}
    meant |= {key: _changed(meant.get(key, {}), pin) for key, pin in changed.items()}
    if _says(lock, new, meant, like=text):
        return new
    raise _unwritable(lock)


def _without_pins(lock: Path, text: str, gone: Collection[str]) -> str:
    """Return the text without those pins, and make sure that it says all else as it did."""
    before, tables = _split(text)
    before, above = _cut_above(before)
    new = before + _shortened(above + tables, gone)
    there = _tables_in(_parsed(lock, text))
    if _says(lock, new, {key: there[key] for key in there if key not in gone}, like=text):
        return new
    raise _unwritable(lock)


def _says(lock: Path, new: str, tables: Mapping[str, RawTable], *, like: str) -> bool:
    """Tell whether a text has those tables of pins and otherwise says what another does."""
    with suppress(ConfigError):
        read = _parsed(lock, new)
        return _tables_in(read) == tables and _without(read) == _without(_parsed(lock, like))
    return False


def _tables_in(top: RawTable) -> Mapping[str, RawTable]:
    """Return the tables of pins whole, with what a later version says in them."""
    return cast("Mapping[str, RawTable]", top.get(_TABLE, {}))


def _changed(table: RawTable, pin: Pin) -> RawTable:
    """Return the table once it says that pin."""
    others = {name: value for name, value in table.items() if name not in _Written.model_fields}
    return {**others, **_said(pin)}


def _unwritable(lock: Path) -> ConfigError:
    return ConfigError(
        f"the pins of {name_of(lock)} cannot be changed: somebody edited them",
        hint=f"remove its [{_TABLE}] tables, which are written again",
    )


def _without(top: RawTable) -> RawTable:
    return {key: value for key, value in top.items() if key != _TABLE}


def _split(text: str) -> tuple[str, str]:
    """Return what stands before the pins, and the pins, which are all that is read as TOML.

    A lock may have megabytes of tools, which would take long. Where the pins do not stand
    together at the end, all of it is the second part.
    """
    header = _HEADER.search(text)
    at = len(text) if header is None else header.start()
    try:
        before, after = tomllib.loads(text[:at]), tomllib.loads(text[at:])
    except ValueError:
        return "", text
    apart = _TABLE not in before and after.keys() <= {_TABLE}
    return (text[:at], text[at:]) if apart else ("", text)


def _tail_of(text: str) -> str:
    """Return the pins of a text as they stand there, with the comments among and above them."""
    before, tables = _split(text)
    if not tables or not before:
        return ""
    _, top, above = before.rpartition(_TOP)
    return f"\n{_TOP}{above}{tables}" if top else f"\n{_TOP}\n\n{tables}"


def _cut_above(before: str) -> tuple[str, str]:
    """Return what stands before the pins, and the comments right above the first of them."""
    lines = _lines(before)
    at = len(lines)
    while at and lines[at - 1].lstrip().startswith("#"):
        at -= 1
    return "".join(lines[:at]), "".join(lines[at:])


def _shortened(text: str, gone: Collection[str]) -> str:
    """Return the tables without some of them, each with the comments right above it."""
    kept: list[str] = []
    above: list[str] = []
    within = False
    for line in _lines(text):
        if line.lstrip().startswith("#"):
            above.append(line)
            continue
        if line.lstrip().startswith("["):
            within = _named_by(line) in gone
        kept += [] if within else [*above, line]
        above.clear()
    return "".join([*kept, *above])


def _lines(text: str) -> Sequence[str]:
    """Return the lines as TOML has them, which ends none at U+2028, say."""
    return [*StringIO(text, newline="\n")]


def _named_by(header: str) -> str | None:
    """Return which pin's table a line begins, None if none's."""
    try:
        keys = cast("RawTable", tomllib.loads(header).get(_TABLE, {}))
    except ValueError:
        return None
    return next(iter(keys), None)


def _edited(text: str, pins: Mapping[str, Pin]) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    tables = cast("_Tables", document[_TABLE])
    for key, pin in pins.items():
        table = cast("_Tables", tables[key])
        said = _said(pin)
        for name in _Written.model_fields:
            if name not in said:
                table.pop(name, None)
            elif table.get(name) != said[name]:
                table[name] = said[name]
    return tomlkit.dumps(document)


def _appended(text: str, pins: Mapping[str, Pin]) -> str:
    """Return what is to follow `text` so that it has these pins, too."""
    if not pins:
        return ""
    end = "" if not text or text.endswith("\n") else "\n"
    top = ["", _TOP, ""] if _TOP not in text else [""]
    return end + "\n".join([*top, *_tables_of(pins)])


def _tables_of(pins: Mapping[str, Pin]) -> Iterable[str]:
    for key, pin in pins.items():
        yield f"[{toml_key(_TABLE, key)}]"
        yield from toml_lines({**_said(pin)})
        yield ""


def _said(pin: Pin) -> dict[str, str]:
    return pin.model_dump(mode="json", exclude_none=True)


def _empty(config_name: str) -> str:
    head = toml_lines({"version": LOCK_VERSION, "configPath": config_name})
    return "\n".join([*head, ""])


@contextmanager
def _alone(lock: Path) -> Generator[None]:
    """Let no other process write the lock file meanwhile; where none can be kept out, go on.

    Raises:
        StorageError: another one has been writing for 10 s.
    """
    try:
        # The file itself is replaced, so that a lock on it would keep nobody out.
        fd = os.open(lock.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        if not is_taken(fd, within_s=_LOCK_WITHIN_S):
            raise StorageError(
                f"{name_of(lock)} is being written by another process",
                hint="try again in a moment",
            )
        yield
    finally:
        os.close(fd)

"""Changes to the text of a `perstack.toml` that keep its comments, its order and its spaces.

What is written is read again before it is given: either it says what was meant and nothing else,
or there is an error and nothing to write.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from typing import Final, TypeAlias, cast

import tomlkit
from pydantic import JsonValue
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Item

from perstack.config.find import CONFIG_NAME
from perstack.config.load import parse_toml
from perstack.config.report import printable
from perstack.config.toml_text import toml_key, toml_value
from perstack.errors import ConfigError

_BOM: Final = "\ufeff"
_EXPERTS: Final = "experts"
_DELEGATES: Final = "delegates"
_HINT: Final = "change it in an editor"
_TOKEN: Final = re.compile(
    r'(?P<value>"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}|\'\'\'(?:[^\']|\'{1,2}(?!\'))*\'{3,5}'
    r'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\')'
    r"|(?P<comment>\#[^\n]*)|(?P<comma>,)|(?P<other>.)",
    re.DOTALL,
)
_Container: TypeAlias = MutableMapping[str, object]
_Plain: TypeAlias = dict[str, JsonValue]


def add_delegate(text: str, expert: str, delegate: str) -> str:
    """Return the text with `delegate` as the last delegate of `expert`.

    Raises:
        ConfigError: the text is no TOML, does not define the Expert, or has the delegate already.
    """
    mark, body = _unmarked(text)
    meant = _read(body)
    table = _experts(meant).get(expert)
    if not isinstance(table, dict):
        raise ConfigError(f"{CONFIG_NAME} does not define {printable(expert)}")
    delegates = table.setdefault(_DELEGATES, [])
    if not isinstance(delegates, list):
        raise ConfigError(f"the delegates of {printable(expert)} are no list", hint=_HINT)
    if delegate in delegates:
        raise ConfigError(f"{printable(expert)} delegates to {printable(delegate)} already")
    delegates.append(delegate)
    document = _parsed(body)
    try:
        _put_delegate(_table(_table(document, _EXPERTS), expert), delegate)
        written = _with_breaks_of(body, tomlkit.dumps(document))
    except (TOMLKitError, ValueError, TypeError, KeyError) as error:
        raise _unchangeable() from error
    return mark + _checked(written, meant)


def with_experts(text: str, drafted: str) -> str:
    """Return the text with the Experts of `drafted`, another TOML text, in place of its own.

    Those that only `text` has stay as they are. What an Expert says as before keeps its form and
    its comments.

    Raises:
        ConfigError: one of the two is no TOML, or its `experts` no table.
    """
    mark, body = _unmarked(text)
    wanted = _unmarked(drafted)[1]
    meant, draft = _read(body), _read(wanted)
    entries = _experts(draft)
    _experts(meant).update(copy.deepcopy(entries))
    if not entries:
        return text
    for inline in (False, True):
        with suppress(TOMLKitError, ValueError, TypeError, KeyError, ConfigError):
            written = _merged(body, wanted, entries, inline=inline)
            return mark + _checked(_with_breaks_of(body, written), meant)
    raise _unchangeable()


# --- reading --------------------------------------------------------------------------------


def _unmarked(text: str) -> tuple[str, str]:
    return (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)


def _read(text: str) -> _Plain:
    return cast("_Plain", parse_toml(CONFIG_NAME, text.replace("\r\n", "\n")))


def _experts(top: _Plain) -> _Plain:
    found = top.setdefault(_EXPERTS, {})
    if not isinstance(found, dict):
        raise ConfigError(f"experts in {CONFIG_NAME} is no table", hint=_HINT)
    return found


def _parsed(text: str) -> _Container:
    try:
        return cast("_Container", tomlkit.parse(text))
    except (TOMLKitError, ValueError, RecursionError) as error:
        raise _unchangeable() from error


def _table(container: _Container, key: str) -> _Container:
    return cast("_Container", container[key])


def _checked(written: str, meant: _Plain) -> str:
    """Return what was written, if it says what was meant."""
    try:
        said = tomllib.loads(written)
    except (ValueError, RecursionError) as error:
        raise _unchangeable() from error
    if said != meant and repr(said) != repr(meant):  # nan is unlike itself
        raise _unchangeable()
    return written


def _unchangeable() -> ConfigError:
    return ConfigError(
        f"{CONFIG_NAME} is written in a way that cannot be changed here without losing some of it",
        hint=_HINT,
    )


def _with_breaks_of(source: str, written: str) -> str:
    """Return what was written with the line breaks that the source has throughout."""
    if "\r\n" not in source or source.count("\r\n") != source.count("\n"):
        return written
    return re.sub(r"(?<!\r)\n", "\r\n", written)


# --- a delegate -----------------------------------------------------------------------------


def _put_delegate(table: _Container, delegate: str) -> None:
    if _DELEGATES not in table:
        table[_DELEGATES] = tomlkit.value(f"[{toml_value(delegate)}]")
        return
    before = cast("Item", table[_DELEGATES]).as_string()
    table[_DELEGATES] = tomlkit.value(_longer(before, toml_value(delegate)))


def _longer(array: str, value: str) -> str:
    """Return the text of an array with one value more; each comment stays behind its value."""
    end, comma = _last_value(array)
    closing = array.rindex("]")
    line = array.rfind("\n", 0, closing) + 1
    if not line or array[line:closing].strip():
        # The bracket closes on the line of the last value.
        if end is None:
            return f"[{value}]"
        at = end if comma is None else comma
        return f"{array[:at]}{',' if comma is None else ''} {value}{array[at:]}"
    indent = _indent_of(array, end) if end is not None else array[line:closing] + "  "
    head = array[:line]
    if end is not None and comma is None:
        head = f"{head[:end]},{head[end:]}"
    closed = "" if end is not None and comma is None else ","
    lines = "\r\n" if array[:line].endswith("\r\n") else "\n"
    return f"{head}{indent}{value}{closed}{lines}{array[line:]}"


def _last_value(array: str) -> tuple[int | None, int | None]:
    """Return where the last value of an array of strings ends, and the comma behind it."""
    end: int | None = None
    comma: int | None = None
    for token in _TOKEN.finditer(array, 1):
        if token.lastgroup == "value":
            end, comma = token.end(), None
        elif token.lastgroup == "comma":
            comma = token.end()
    return end, comma


def _indent_of(array: str, end: int) -> str:
    """Return the blanks that the line begins with on which a value ends."""
    begin = array.rfind("\n", 0, end) + 1
    text = array[begin:end]
    return text[: len(text) - len(text.lstrip(" \t"))] if begin else "  "


# --- whole Experts --------------------------------------------------------------------------


def _merged(text: str, drafted: str, entries: _Plain, *, inline: bool) -> str:
    """Return the text with the Experts; `inline` where tables cannot stand under headers."""
    document, draft = _parsed(text), _table(_parsed(drafted), _EXPERTS)
    known = cast("_Container", document.get(_EXPERTS, {}))
    fresh = [name for name in entries if name not in known]
    for name, entry in entries.items():
        if name in known:
            _become(_table(known, name), _table(draft, name), inline=inline)
        elif inline and known:
            known[name] = tomlkit.value(toml_value(entry))
    written = tomlkit.dumps(document)
    for name in fresh if not (inline and known) else ():
        written = _appended(written, name, entries[name], draft[name])
    return written


def _become(table: _Container, wanted: _Container, *, inline: bool) -> None:
    """Make a table say what another does; what it says already is not touched."""
    for key, value in wanted.items():
        before = table.get(key)
        if isinstance(before, MutableMapping) and isinstance(value, MutableMapping):
            known = cast("_Container", before)
            _become(known, cast("_Container", value), inline=inline)
            continue
        plain = _plain(value)
        if before is None or _plain(cast("object", before)) != plain:
            fresh = copy.deepcopy(value)
            table[key] = tomlkit.value(toml_value(cast("JsonValue", plain))) if inline else fresh
    # Last: a header that nothing is left below may be written twice.
    for key in [key for key in table if key not in wanted]:
        del table[key]


def _plain(value: object) -> object:
    return value.unwrap() if isinstance(value, Item) else value


def _appended(text: str, name: str, entry: JsonValue, item: object) -> str:
    """Return the text with one Expert more, at its end; as it was drafted, where that can be."""
    break_ = "" if not text or text.endswith("\n") else "\n"
    gap = "\n" if text.strip() else ""
    try:
        drafted = tomlkit.document()
        experts = tomlkit.table(is_super_table=True)
        experts.append(name, cast("Item", copy.deepcopy(item)))
        drafted.append(_EXPERTS, experts)
        block = tomlkit.dumps(drafted).strip("\n") + "\n"
        if tomllib.loads(block) != {_EXPERTS: {name: entry}}:
            raise ValueError(name)  # noqa: TRY301  the plain form says it
    except (TOMLKitError, ValueError, TypeError, KeyError):
        block = "\n".join(_tables(entry, (_EXPERTS, name))).strip("\n") + "\n"
    return f"{text}{break_}{gap}{block}"


def _tables(entry: JsonValue, path: tuple[str, ...]) -> Iterator[str]:
    table = entry if isinstance(entry, dict) else {}
    yield f"\n[{toml_key(*path)}]"
    for key, value in table.items():
        if not isinstance(value, dict):
            yield f"{toml_key(key)} = {toml_value(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _tables(value, (*path, key))

"""What a save of `perstack.toml` changed, field by field, with the powers that it gives."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeGuard, cast

from perstack.config.definition_powers import (
    Powers,
    expert_powers,
    setting_powers,
    settings_by_path,
)
from perstack.config.headers import holds_secret
from perstack.config.interpolate import is_reference
from perstack.config.load import LoadedConfig
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey

CONTEXT_LINES: Final = 3
# Above this a text is shown as rewritten: comparing it would take longer than reading it.
_MOST_LINES: Final = 20_000
_LONG: Final = 60
_HIDDEN: Final = "(hidden)"
_ANOTHER: Final = "(another, hidden)"
_PASSWORD: Final = re.compile(r"://[^/\s@]*@")
_QUERY: Final = re.compile(r"\?.*", re.DOTALL)
_SECRET_FIELDS: Final = frozenset({"token", "webhook", "webhookUrl", "database"})
_NAMING: Final = ("key", "name")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field before and after, in words; "" where it was or is not set.

    `field` is its dotted name in `perstack.toml`. Of a list, `gained` and `lost` are the items. Of
    a long text, `lines` are a unified diff without the names of files, and `added` and `removed`
    count them; before and after are "" then. `powers` say what it allows that was not allowed.
    """

    field: str
    before: str
    after: str
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    added: int = 0
    removed: int = 0
    powers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExpertDiff:
    """How one Expert differs. A version is None where there is, or was, no such Expert."""

    key: ExpertKey
    change: Literal["new", "changed", "gone"]
    before_version: str | None
    after_version: str | None
    fields: tuple[FieldChange, ...] = ()

    @property
    def powers(self) -> tuple[str, ...]:
        """All that it may do newly."""
        return tuple(power for field in self.fields for power in field.powers)


@dataclass(frozen=True, slots=True)
class DefinitionDiff:
    """How two readings of a configuration differ; Experts in the new file's order, gone ones last.

    `settings` are those outside of any Expert.
    """

    settings: tuple[FieldChange, ...] = ()
    experts: tuple[ExpertDiff, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any difference."""
        return bool(self.settings or self.experts)


def diff_definitions(old: LoadedConfig, new: LoadedConfig) -> DefinitionDiff:
    """Return what differs. Takes time in proportion to what changed: not for an event loop."""
    before, after = settings_by_path(old.settings), settings_by_path(new.settings)
    before["envPath"], after["envPath"] = list(old.env_paths), list(new.env_paths)
    powers = setting_powers(old.settings, new.settings)
    return DefinitionDiff(
        settings=tuple(_field_changes(before, after, powers)),
        experts=tuple(_expert_diffs(old.experts, new.experts)),
    )


def _expert_diffs(
    old: Mapping[ExpertKey, Expert], new: Mapping[ExpertKey, Expert]
) -> Iterator[ExpertDiff]:
    for key, expert in new.items():
        before = old.get(key)
        if before is None:
            yield ExpertDiff(key, "new", None, expert.version, expert_fields(expert))
        elif fields := diff_experts(before, expert):
            yield ExpertDiff(key, "changed", before.version, expert.version, fields)
    for key, expert in old.items():
        if key not in new:
            yield ExpertDiff(key, "gone", expert.version, None)


def diff_experts(before: Expert, after: Expert) -> tuple[FieldChange, ...]:
    """Return what differs between two definitions of an Expert."""
    powers = expert_powers(before, after)
    (old, old_skills), (new, new_skills) = _parted(before), _parted(after)
    return (
        *_field_changes(old, new, powers),
        *_skill_changes(old_skills, new_skills, powers),
    )


def expert_fields(expert: Expert) -> tuple[FieldChange, ...]:
    """Return all that a definition sets, as fields that were not there before."""
    powers = expert_powers(None, expert)
    fields, skills = _parted(expert)
    return (*_field_changes({}, fields, powers), *_skill_changes({}, skills, powers))


def _parted(expert: Expert) -> tuple[dict[str, object], Mapping[str, object]]:
    """Return the fields of an Expert, but for its names, and its skills, as JSON values."""
    data = cast("dict[str, object]", expert.model_dump(mode="json", by_alias=True))
    skills = _table(data.pop("skills"))
    return {name: value for name, value in data.items() if name not in _NAMING}, skills


# --- fields ---------------------------------------------------------------------------------------


def _skill_changes(
    before: Mapping[str, object], after: Mapping[str, object], powers: Powers
) -> Iterator[FieldChange]:
    """Yield a skill that came, went or became another kind as a whole, else its fields."""
    for name in (*after, *(name for name in before if name not in after)):
        old, new = _table(before.get(name)), _table(after.get(name))
        at = ("skills", name)
        if old.get("type") != new.get("type"):
            was, now = (_described(old) if old else None), (_described(new) if new else None)
            given = tuple(words for path, words in powers.items() if path[:2] == at)
            yield _change(".".join(at), was, now, sum(given, ()))
        else:
            yield from _field_changes(old, new, powers, at)


def _described(skill: Mapping[str, object]) -> str:
    """Return what a skill is, in words: its kind and how it is reached."""
    command, package, args = skill.get("command"), skill.get("packageName"), skill.get("args")
    words = [str(command or "")]
    words += [str(package)] if package else [str(word) for word in _items(args)]
    reach = " ".join(words).strip() or _address(str(skill.get("endpoint") or ""))
    picked = [str(tool) for tool in _items(skill.get("pick"))]
    parts = (
        str(skill.get("type", "")).removesuffix("Skill"),
        reach,
        ", ".join(_table(skill.get("tools"))),
        f"only {', '.join(picked)}" if picked else "",
    )
    return " · ".join(part for part in parts if part)


def _field_changes(
    before: Mapping[str, object],
    after: Mapping[str, object],
    powers: Powers,
    at: tuple[str, ...] = (),
) -> Iterator[FieldChange]:
    for name in (*after, *(name for name in before if name not in after)):
        old, new = before.get(name), after.get(name)
        if old != new and not (_is_empty(old) and _is_empty(new)):
            path = (*at, name)
            yield _change(".".join(path), old, new, powers.get(path, ()))


def _is_empty(value: object) -> bool:
    return value is None or value in ([], {}, "")


def _change(name: str, old: object, new: object, powers: tuple[str, ...]) -> FieldChange:
    was, now = _words_of(old), _words_of(new)
    if (_is_list(old) or _is_list(new)) and was != now:
        return FieldChange(
            name,
            ", ".join(was),
            ", ".join(now),
            gained=tuple(item for item in now if item not in was),
            lost=tuple(item for item in was if item not in now),
            powers=powers,
        )
    before, after = _words(name, old), _words(name, new)
    if before == after:
        return FieldChange(name, before, _ANOTHER, powers=powers)
    if "\n" in before + after or max(len(before), len(after)) > _LONG:
        lines = diff_lines(before, after)
        added, removed = _counted(lines)
        return FieldChange(name, "", "", lines=lines, added=added, removed=removed, powers=powers)
    return FieldChange(name, before, after, powers=powers)


def _is_list(value: object) -> bool:
    items = _items(value)
    return isinstance(value, list) and not any(isinstance(item, dict) for item in items)


def _words_of(value: object) -> list[str]:
    return [_PASSWORD.sub("://…@", str(item)) for item in _items(value)]


def _items(value: object) -> Sequence[object]:
    return cast("list[object]", value) if isinstance(value, list) else ()


def _table(value: object) -> Mapping[str, object]:
    return value if _is_table(value) else {}


def _is_table(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _words(name: str, value: object) -> str:
    """Return a value as it may be shown: what may be a secret stays hidden."""
    if value is None:
        return ""
    field = name.rpartition(".")[2]
    if isinstance(value, str):
        if field in _SECRET_FIELDS and value and not is_reference(value):
            return _HIDDEN
        return _address(value)
    if field == "headers" and _is_table(value):
        return ", ".join(_header(*pair) for pair in value.items())
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return json.dumps(value, indent=2, ensure_ascii=False)


def _header(name: str, value: object) -> str:
    return f"{name}: {_HIDDEN if holds_secret(name) else value}"


def _address(text: str) -> str:
    if "://" not in text:
        return text
    return (
        _PASSWORD.sub("://…@", text)
        if " " in text
        else _QUERY.sub("?…", _PASSWORD.sub("://…@", text))
    )


# --- lines ----------------------------------------------------------------------------------------


def diff_lines(before: str, after: str) -> tuple[str, ...]:
    """Return a unified diff of two texts, without the lines that name files."""
    old, new = before.split("\n"), after.split("\n")
    if len(old) + len(new) > _MOST_LINES:
        head = f"@@ -1,{len(old)} +1,{len(new)} @@"
        return (head, *(f"-{line}" for line in old), *(f"+{line}" for line in new))
    diff = difflib.unified_diff(old, new, n=CONTEXT_LINES, lineterm="")
    return tuple(diff)[2:]


def _counted(lines: Sequence[str]) -> tuple[int, int]:
    added = sum(1 for line in lines if line.startswith("+"))
    return added, sum(1 for line in lines if line.startswith("-"))

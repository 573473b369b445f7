"""What a registry answers, read from its bytes: checked before anything of it is believed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from perstack.config.report import printable
from perstack.domain.registry import (
    DEFINITION_BYTES,
    ExpertPage,
    Owner,
    RegistryExpert,
    RegistryKey,
    VersionEntry,
    VersionList,
    has_endless_number,
    is_tag,
    is_version,
    parse_key,
)
from perstack.errors import RegistryError, UsageError

_SHOWN: Final = 160

DataT = TypeVar("DataT", bound=BaseModel)


class _Shape(BaseModel):
    """A part of the envelope; a registry may say more than we know of."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Envelope(_Shape, Generic[DataT]):
    data: DataT


class _OneExpert(_Shape):
    expert: RegistryExpert


class _Experts(_Shape):
    experts: tuple[RegistryExpert, ...]


class _Meta(_Shape):
    total: Annotated[int, Field(ge=0)]


class _Page(_Envelope[_Experts]):
    meta: _Meta


class _Refusal(_Shape):
    """The error body. Of another registry it may be in another shape, in part or in whole."""

    error: JsonValue = None
    reason: JsonValue = None


@dataclass(frozen=True, slots=True)
class Said:
    """What an error's body says: what kind of error it is, and why. Data, of any content."""

    error: str = ""
    reason: str = ""


def expert_in(body: bytes, asked: RegistryKey) -> RegistryExpert:
    """Return the Expert of an answer.

    Raises:
        RegistryError: there is none, or it is not the one that was asked for.
    """
    expert = _read(_Envelope[_OneExpert], body).data.expert
    other = expert.name != asked.name or asked.version not in (None, expert.version)
    if other:
        got = printable(f"{expert.name}@{expert.version}", longest=_SHOWN)
        raise RegistryError(
            f"the registry answered with {got} where {asked} was asked for",
            hint="nothing of it is used; tell who runs the registry",
        )
    if (fault := _fault_of(expert)) is not None:
        raise _unusable(f"{asked}: {fault}")
    return expert


def versions_in(body: bytes, asked: RegistryKey) -> VersionList:
    """Return the versions of an answer.

    Raises:
        RegistryError: there are none, or they are not of the name that was asked for.
    """
    found = _read(_Envelope[VersionList], body).data
    for entry in found.versions:
        if (fault := _fault_of_entry(entry, asked)) is not None:
            raise _unusable(f"the versions of {asked.name}: {fault}")
    if found.latest is None:
        return found
    latest = found.latest.removeprefix(f"{asked.name}@")
    if not is_version(latest):
        raise _unusable(f"the versions of {asked.name}: latest is at no version")
    return found.model_copy(update={"latest": latest})


def page_in(body: bytes) -> tuple[ExpertPage, int]:
    """Return the page of an answer, and how many Experts on it cannot be used and are left out.

    Raises:
        RegistryError: it is no page.
    """
    page = _read(_Page, body)
    usable = tuple(each for each in page.data.experts if _fault_of(each) is None)
    dropped = len(page.data.experts) - len(usable)
    return ExpertPage(experts=usable, total=page.meta.total), dropped


def refusal_in(body: bytes) -> Said:
    """Return what an error's body says, nothing where it cannot be understood."""
    try:
        said = _Refusal.model_validate_json(body)
    except ValueError:
        return Said()
    return Said(_text(said.error), _text(said.reason))


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


def _read(shape: type[_AnyShape], body: bytes) -> _AnyShape:
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        what = printable(f"{place}: {first['msg']}" if place else first["msg"], longest=_SHOWN)
    except ValueError as error:
        what = printable(str(error), longest=_SHOWN)
    raise _unusable(what)


_AnyShape = TypeVar("_AnyShape", bound=_Shape)


def _unusable(what: str) -> RegistryError:
    return RegistryError(
        f"the registry's answer cannot be understood ({what})",
        hint="does PERSTACK_API_BASE_URL name a registry of Experts?",
    )


def _fault_of(expert: RegistryExpert) -> str | None:
    """Return why an Expert cannot be used, or None."""
    if not _are_key(expert.key, expert.name, expert.version):
        return "its key, name and version do not fit together"
    if not all(is_tag(tag) for tag in expert.tags):
        return "it has tags that are none"
    if not _are_plain(expert.id, expert.created_at, expert.updated_at, *_texts_of(expert.owner)):
        return "it holds control characters where none belong"
    try:
        size = len(expert.definition.content)
        endless = has_endless_number(expert.definition)
    except (ValueError, RecursionError):
        return "its definition cannot be written down"
    if size > DEFINITION_BYTES:
        return f"its definition is larger than {DEFINITION_BYTES:,} bytes"
    return "a number in it is too large for JSON" if endless else None


def _fault_of_entry(entry: VersionEntry, asked: RegistryKey) -> str | None:
    if not _are_key(entry.key, asked.name, entry.version):
        return "one is of another name"
    if not all(is_tag(tag) for tag in entry.tags):
        return "one has tags that are none"
    if not _are_plain(entry.created_at or "", entry.integrity or ""):
        return "one holds control characters"
    return None


def _texts_of(owner: Owner) -> Iterable[str]:
    return owner.name or "", owner.organization_id, owner.created_at or ""


def _are_key(key: str, name: str, version: str) -> bool:
    """Tell whether `key` is the key of that version of that name, and all three are sound."""
    try:
        parsed = parse_key(key)
    except UsageError:
        return False
    return parsed.name == name and parsed.version == version


def _are_plain(*texts: str) -> bool:
    return all(text.isprintable() for text in texts)

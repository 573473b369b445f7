"""What may be published, and what of an Expert of the registry may be changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio
from pydantic import JsonValue

from perstack.config.builtin import CORE_TYPES
from perstack.config.published import publication_of
from perstack.config.report import printable
from perstack.config.secrets import redact, secret_values
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import (
    LATEST,
    STATUSES,
    Definition,
    PublishRequest,
    RegistryExpert,
    RegistryKey,
    Status,
    VersionList,
    is_tag,
    parse_key,
)
from perstack.engine.groups import unwrapped
from perstack.errors import RegistryError, RegistryMissingError, UsageError
from perstack.ports.registry import Registry
from perstack.services.bounds import check_word

_AT_ONCE: Final = 8
_LONGEST_S: Final = 60.0
_BY_NAME: Final = "leave it out: a skill is given a variable by its name, with requiredEnv"
_TAGS_HINT: Final = "tags are made of lower-case letters, digits, '-' and '_'"


@dataclass(frozen=True, slots=True)
class Draft:
    """What would be published of an Expert, and what of it would be left out."""

    request: PublishRequest
    left_out: tuple[str, ...]

    @property
    def key(self) -> RegistryKey:
        """Under which key."""
        return parse_key(self.request.key)

    @property
    def size(self) -> int:
        """How many bytes the definition has."""
        return len(self.request.definition.content)


@dataclass(frozen=True, slots=True)
class Lead:
    """What a delegate leads to in the registry now.

    `differs` tells that the project defines another Expert of that name.
    """

    delegate: str
    key: str
    owner: str
    status: Status
    differs: bool = False


def draft_of(expert: Expert, env: Mapping[str, str]) -> Draft:
    """Return what would be published, as far as can be told without the registry.

    Raises:
        UsageError: it cannot be published, or holds a secret of `env`.
    """
    publication = publication_of(expert)
    definition = publication.definition
    own = parse_key(definition.name)
    if own.version is not None or own.tag is not None:
        raise UsageError(
            f"{printable(expert.key)} cannot be published: its name holds a version or tag",
            hint=f'name the table [experts."{own.name}"] and say version = in it',
        )
    for delegate in definition.delegates:
        parse_key(delegate)
    if (found := _secret_in(definition, env)) is not None:
        part, variable = found
        raise UsageError(
            f"{definition.key} cannot be published: {part} holds the value of {variable}",
            hint=_BY_NAME,
        )
    left_out = (*publication.dropped, *(("tags",) if expert.tags else ()))
    return Draft(PublishRequest(**definition.model_dump(), tags=(LATEST,)), left_out)


async def leads_of(
    registry: Registry, draft: Draft, local: Mapping[ExpertKey, Expert]
) -> tuple[Lead, ...]:
    """Return what its delegates lead to, without those that are built in.

    Raises:
        UsageError: one is not in the registry; it says what to publish first.
        RegistryError: the registry cannot say.
    """
    wanted = [each for each in draft.request.delegates if each not in CORE_TYPES]
    found: dict[str, RegistryExpert | None] = {}
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def look(delegate: str) -> None:
        async with limiter:
            try:
                found[delegate] = await registry.find(parse_key(delegate))
            except RegistryMissingError:
                found[delegate] = None

    with anyio.move_on_after(_LONGEST_S), unwrapped():
        async with anyio.create_task_group() as group:
            for delegate in wanted:
                group.start_soon(look, delegate, name=f"delegate:{delegate}")
    if len(found) < len(wanted):
        raise RegistryError(
            f"the registry did not say within {_LONGEST_S:g} s which delegates it has",
            hint="try again",
        )
    if missing := [each for each in wanted if found[each] is None]:
        raise _unpublished(draft, missing, local)
    return tuple(_lead(each, expert, local) for each in wanted if (expert := found[each]))


def replaced(draft: Draft, local: Mapping[ExpertKey, Expert]) -> tuple[str, ...]:
    """Return the delegates that are the project's own here, and the built-in ones elsewhere."""
    return tuple(each for each in draft.request.delegates if each in CORE_TYPES and each in local)


async def publish(registry: Registry, draft: Draft) -> RegistryExpert:
    """Publish it, and return what the registry has now.

    Raises:
        RegistryError: the registry refuses it, or has something else than was sent.
    """
    published = await registry.publish(draft.request)
    if published.definition.integrity != draft.request.definition.integrity:
        raise RegistryError(
            f"{draft.key} was published, but the registry does not have what was sent",
            hint=f"perstack info {draft.key} shows what it has; raise the version and try again",
        )
    return published


def exact_version(text: str) -> RegistryKey:
    """Return the key of one version.

    Raises:
        UsageError: it is no key, or names no version.
    """
    key = parse_key(text)
    if key.version is None:
        raise UsageError(
            f"{key} names no version",
            hint=f"write {key.name}@1.2.3; perstack versions {key.name} lists what there is",
        )
    return key


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags that a version may be given, each once.

    Raises:
        UsageError: there are none, or one cannot be set.
    """
    wanted = tuple(dict.fromkeys(tags))
    if not wanted:
        raise UsageError("no tag is given", hint="such as: perstack tag NAME@1.2.3 stable")
    for tag in wanted:
        if tag == LATEST:
            raise UsageError(
                f"the tag {LATEST} cannot be set",
                hint="it moves by itself, to the highest version",
            )
        if not is_tag(tag):
            raise UsageError(f"{tag[:80]!a} is not a tag", hint=_TAGS_HINT)
    return wanted


def checked_status(status: str | None) -> Status:
    """Return the status that was asked for.

    Raises:
        UsageError: it is none.
    """
    if status is None:
        raise UsageError(
            "no status is given", hint=f"such as: perstack status NAME@1.2.3 {STATUSES[1]}"
        )
    return check_word(status, "status", STATUSES)


def later_statuses(status: Status) -> Sequence[Status]:
    """Return what a version of that status may become; there is no way back."""
    return STATUSES[STATUSES.index(status) + 1 :]


def moved_tags(
    versions: VersionList, version: str, tags: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Yield which of `tags` would be taken from another version, and that version."""
    for tag in tags:
        if (holder := versions.tagged(tag)) is not None and holder.version != version:
            yield tag, holder.version


# ---------------------------------------------------------------- internals


def _lead(delegate: str, found: RegistryExpert, local: Mapping[ExpertKey, Expert]) -> Lead:
    own = local.get(ExpertKey(delegate))
    differs = own is not None and not _is_that(own, found)
    return Lead(delegate, found.key, found.owned_by, found.status, differs)


def _is_that(own: Expert, found: RegistryExpert) -> bool:
    try:
        return publication_of(own).definition.integrity == found.definition.integrity
    except UsageError:
        return False


def _unpublished(
    draft: Draft, missing: Sequence[str], local: Mapping[ExpertKey, Expert]
) -> UsageError:
    """Return the error that says which delegates have to be published first, if that can be."""
    name = draft.request.name
    if way := next(filter(None, (_way(each, name, local) for each in missing)), None):
        return UsageError(
            f"{name} cannot be published: {' → '.join((name, *way))}, and of Experts that "
            "delegate in a ring none can be published first",
            hint="remove one of the delegates",
        )
    own = [each for each in missing if each in local]
    if own:
        said = f"perstack publish {own[0]}" + (f"; then: {', '.join(own[1:])}" if own[1:] else "")
        return UsageError(
            f"{name} cannot be published yet: it delegates to {', '.join(own)}, which the registry "
            "does not have",
            hint=f"publish first: {said}",
        )
    return UsageError(
        f"{name} cannot be published: it delegates to {', '.join(missing)}, which neither "
        "perstack.toml nor the registry has",
        hint="correct the delegates; perstack search WORDS finds Experts",
    )


def _way(start: str, goal: str, local: Mapping[ExpertKey, Expert]) -> tuple[str, ...] | None:
    """Return how delegations of the project lead from `start` to `goal`, None if they do not."""
    ways: dict[str, tuple[str, ...]] = {start: (start,)}
    waiting = [start]
    while waiting:
        here = waiting.pop()
        expert = local.get(ExpertKey(here))
        for following in expert.delegates if expert is not None else ():
            if following == goal:
                return (*ways[here], goal)
            if following not in ways:
                ways[following] = (*ways[here], following)
                waiting.append(following)
    return None


def _secret_in(definition: Definition, env: Mapping[str, str]) -> tuple[str, str] | None:
    """Return which part holds the value of which variable."""
    for variable, value in env.items():
        secrets = secret_values({variable: value})
        for part, text in _parts(definition) if secrets else ():
            if redact(text, secrets) != text:
                return part, variable
    return None


def _parts(definition: Definition) -> Iterator[tuple[str, str]]:
    yield "its instruction", definition.instruction
    yield "its description", definition.description or ""
    for name, skill in definition.skills.items():
        for text in (name, *_texts(skill)):
            yield f"its skill {printable(name)}", text


def _texts(value: JsonValue | Mapping[str, JsonValue]) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield key
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)

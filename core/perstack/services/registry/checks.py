"""Whether what is to be published can stand in a registry: its shape, its bounds, its name."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from perstack.config.published import expert_of
from perstack.config.report import printable
from perstack.core_types import CORE_TYPE_NAMES
from perstack.domain.expert import BASE_SKILL
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import (
    DEFINITION_BYTES,
    LATEST,
    Definition,
    Origin,
    PublishRequest,
    RegistryKey,
    has_endless_number,
    is_tag,
    parse_key,
)
from perstack.domain.registry_hosting import MOST_TAGS, Organisation
from perstack.domain.semantic_versions import is_canonical
from perstack.errors import RegistryError, UsageError
from perstack.services.registry import reasons

_SHOWN: Final = 120


def read_request(body: bytes) -> PublishRequest:
    """Return what is to be published, checked as strictly as a `perstack.toml`. It may take long.

    Raises:
        RegistryRefusedError: it has not the shape that is taken (422), or is too large (413).
    """
    try:
        request = PublishRequest.model_validate_json(body)
    except ValidationError as error:
        raise reasons.unfit(fault_in(error)) from error
    _check_name(request)
    check_tags(request.tags)
    definition = request.definition
    if has_endless_number(definition):
        raise reasons.unfit("skills: a number is too large for JSON")
    if len(definition.content) > DEFINITION_BYTES:
        raise reasons.refused(f"it is larger than {DEFINITION_BYTES:,} bytes", status=413)
    _check_runs(definition)
    return request


def fault_in(error: ValidationError) -> str:
    """Return the first thing that is wrong, with its place."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return printable(f"{place}: {first['msg']}" if place else first["msg"], longest=_SHOWN)


def check_tags(tags: tuple[str, ...]) -> None:
    """Let tags pass.

    Raises:
        RegistryRefusedError: one is none, or there are too many.
    """
    if len(tags) > MOST_TAGS + 1 or len(set(tags) - {LATEST}) > MOST_TAGS:
        raise reasons.unfit(f"a version has at most {MOST_TAGS} tags")
    for tag in tags:
        if not is_tag(tag):
            raise reasons.unfit(f"tags: {printable(tag, longest=_SHOWN)!a} is no tag")


def check_place(name: RegistryKey, organisation: Organisation) -> None:
    """Let an organisation publish under a name, if nobody else has it.

    Raises:
        RegistryRefusedError: it is not where the organisation publishes.
    """
    if organisation.name is None:
        if name.organisation is not None:
            raise reasons.must_not_be_scoped(name.base)
        if name.base in CORE_TYPE_NAMES:
            raise reasons.name_taken(name.base)
    elif name.organisation is None:
        raise reasons.must_be_scoped(name.base, organisation.name)
    elif name.organisation != organisation.name:
        raise reasons.not_owned(name.name)


def check_base(definition: Definition) -> None:
    """Let a definition pass that has the base skill.

    Raises:
        RegistryRefusedError: it has not.
    """
    if BASE_SKILL not in definition.skills:
        raise reasons.base_required()


def _check_name(request: PublishRequest) -> None:
    try:
        key = parse_key(request.name)
    except UsageError as error:
        raise reasons.unfit(f"name: {error.message}") from error
    if key.version is not None or key.tag is not None:
        raise reasons.unfit("name: it holds no version; give it as version")
    if not is_canonical(request.version):
        raise reasons.unfit("version: it must be a semantic version such as 1.0.0")


def _check_runs(definition: Definition) -> None:
    origin = Origin(
        registry="", key=definition.key, integrity=definition.integrity, owner="publisher"
    )
    try:
        expert_of(definition, ExpertKey(definition.name), origin)
    except RegistryError as error:
        raise reasons.unfit(printable(error.message, longest=4 * _SHOWN)) from error

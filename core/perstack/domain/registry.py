"""The registry of Experts: keys, what is published, what the registry answers.

Shapes and words follow Perstack's registry API, `/api/registry/v1/experts`. What is ours is said to
be: another registry may not give it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

from pydantic import ConfigDict, Field, JsonValue

from perstack.domain.base import Model
from perstack.errors import RegistryError, UsageError

DEFAULT_URL: Final = "https://api.perstack.ai"
API: Final = "/api/registry/v1/experts"
LATEST: Final = "latest"
MIN_RUNTIME_VERSION: Final = "v1.0"

Status = Literal["available", "deprecated", "disabled"]
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
SortKey = Literal["name", "version", "createdAt", "updatedAt"]
SORT_KEYS: Final[tuple[SortKey, ...]] = get_args(SortKey)
SortOrder = Literal["asc", "desc"]
MOST_TAKEN: Final = 100

DEFINITION_BYTES: Final = 1024 * 1024
NAME_LENGTH: Final = 255
ORGANISATION_LENGTH: Final = 128
_PART: Final = r"[a-z0-9][a-z0-9_-]*"
VERSION_PATTERN: Final = (
    r"\d{1,9}\.\d{1,9}\.\d{1,9}(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_VERSION: Final = re.compile(VERSION_PATTERN, re.ASCII)
_TAG: Final = re.compile(_PART, re.ASCII)
_KEY: Final = re.compile(rf"(?:@({_PART})/)?({_PART})(?:@(\S+))?", re.ASCII)
_TAG_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class RegistryKey:
    """`name`, `name@1.2.3` or `name@tag`, each optionally behind `@organisation/`.

    Names are ASCII in lower case alone, so that no look-alike can pose as another.
    """

    organisation: str | None
    base: str
    version: str | None = None
    tag: str | None = None

    @property
    def name(self) -> str:
        """The key without a version or tag: `@acme/researcher`."""
        return self.base if self.organisation is None else f"@{self.organisation}/{self.base}"

    @property
    def wanted_tag(self) -> str | None:
        """The tag that says which version is meant, None where the version is given."""
        return None if self.version is not None else self.tag or LATEST

    def at(self, version: str) -> RegistryKey:
        """Return the key of one version."""
        return RegistryKey(self.organisation, self.base, version)

    def __str__(self) -> str:
        specifier = self.version or self.tag
        return self.name if specifier is None else f"{self.name}@{specifier}"


def parse_key(text: str) -> RegistryKey:
    """Return the parts of a key.

    Raises:
        UsageError: it is none.
    """
    match = _KEY.fullmatch(text) if len(text) <= 2 * NAME_LENGTH else None
    if match is None or not _fits(match):
        raise UsageError(
            f"{text[:80]!a} is not the key of an Expert",
            hint="write NAME, NAME@1.2.3 or NAME@tag, in lower-case letters, digits, '-' and '_'; "
            "@organisation/ may stand before it",
        )
    organisation, base, specifier = match.groups()
    if specifier is not None and is_version(specifier):
        return RegistryKey(organisation, base, version=specifier)
    return RegistryKey(organisation, base, tag=specifier)


def _fits(match: re.Match[str]) -> bool:
    organisation, base, specifier = match.groups()
    if len(organisation or "") > ORGANISATION_LENGTH or len(base) > NAME_LENGTH:
        return False
    return specifier is None or is_version(specifier) or is_tag(specifier)


def is_version(text: str) -> bool:
    """Tell whether `text` is three numbers with dots, as semantic versions are."""
    return len(text) <= NAME_LENGTH and _VERSION.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Tell whether `text` can be a tag."""
    return len(text) <= _TAG_LENGTH and _TAG.fullmatch(text) is not None


class Definition(Model):
    """What is published under one version and never changes.

    `skills` are as in `perstack.toml`, by name. Delegates are keys, as the author wrote them.
    """

    name: str
    version: str
    min_runtime_version: str = MIN_RUNTIME_VERSION
    description: str | None = None
    instruction: str
    skills: dict[str, dict[str, JsonValue]]
    delegates: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The key of this version."""
        return f"{self.name}@{self.version}"

    @property
    def content(self) -> bytes:
        """The bytes that its integrity is of: JSON with sorted keys, without what is not said."""
        said = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "surrogatepass"
        )

    @property
    def integrity(self) -> str:
        """`sha256-` and the hash of its content in hexadecimal."""
        return f"sha256-{hashlib.sha256(self.content).hexdigest()}"


def has_endless_number(definition: Definition) -> bool:
    """Tell whether a number was too large to be read: JSON cannot say it again."""
    try:
        json.dumps(definition.skills, allow_nan=False)
    except ValueError:
        return True
    return False


def content_to_keep(definition: Definition) -> bytes:
    """Return the content of a definition that may be kept.

    Raises:
        RegistryError: it is too large, or no text.
    """
    content = definition.content
    if len(content) > DEFINITION_BYTES:
        raise RegistryError(f"{definition.key} is larger than {DEFINITION_BYTES:,} bytes")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise RegistryError(f"{definition.key} holds what is no text") from error
    return content


class PublishRequest(Definition):
    """What is sent to publish: a definition, and the tags that move to it."""

    tags: tuple[str, ...] = (LATEST,)

    @property
    def definition(self) -> Definition:
        """What of it never changes."""
        return Definition.model_validate(self.model_dump(exclude={"tags"}))


class _Answer(Model):
    """What a registry says: it may say more than we know of."""

    model_config = ConfigDict(extra="ignore")


class Owner(_Answer):
    """Whose an Expert is; `name` is the organisation's, which nobody has to have."""

    name: str | None = None
    organization_id: str
    created_at: str | None = None


class RegistryExpert(_Answer):
    """One version of an Expert, as the registry tells it. `key` holds its version.

    Times are ISO 8601 in UTC. `integrity` is ours: the definition's, if the registry gives it.
    """

    type: Literal["registryExpert"] = "registryExpert"
    id: str
    key: str
    name: str
    version: str
    min_runtime_version: str = MIN_RUNTIME_VERSION
    description: str | None = None
    instruction: str
    skills: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    delegates: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    status: Status = "available"
    owner: Owner
    created_at: str
    updated_at: str
    integrity: str | None = None

    @property
    def owned_by(self) -> str:
        """Whose it is: the organisation's name, or else its id."""
        return self.owner.name or self.owner.organization_id

    @property
    def definition(self) -> Definition:
        """What of it never changes."""
        return Definition(
            name=self.name,
            version=self.version,
            min_runtime_version=self.min_runtime_version,
            description=self.description,
            instruction=self.instruction,
            skills=self.skills,
            delegates=self.delegates,
        )


class VersionEntry(_Answer):
    """One line of an Expert's versions. `status` and `integrity` are ours, None if not given."""

    key: str
    version: str
    tags: tuple[str, ...] = ()
    status: Status | None = None
    created_at: str | None = None
    integrity: str | None = None


class VersionList(_Answer):
    """All versions of an Expert, the newest first; `latest` is what that tag is at."""

    versions: tuple[VersionEntry, ...]
    latest: str | None = None

    @property
    def all_disabled(self) -> bool:
        """Whether it has versions, and none of them may be run."""
        return bool(self.versions) and all(one.status == "disabled" for one in self.versions)

    def tagged(self, tag: str) -> VersionEntry | None:
        """Return the version that has the tag."""
        return next((each for each in self.versions if tag in each.tags), None)

    def of(self, version: str) -> VersionEntry | None:
        """Return that version."""
        return next((each for each in self.versions if each.version == version), None)


class ExpertQuery(Model):
    """What is looked for: `filter` is words of a name or description."""

    organization_id: str | None = None
    filter: str | None = None
    sort: SortKey = "name"
    order: SortOrder = "asc"
    take: Annotated[int, Field(ge=1, le=MOST_TAKEN)] = MOST_TAKEN
    skip: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class ExpertPage(_Answer):
    """Some Experts, each in its `latest` version, and how many there are in all."""

    experts: tuple[RegistryExpert, ...]
    total: int


class Origin(Model):
    """Where an Expert came from that is not the project's: of which registry, and what exactly.

    `key` holds the version. `owner` is the organisation's name, or else its id.
    """

    registry: str
    key: str
    integrity: str
    owner: str


class Pin(Model):
    """What a key was resolved to, as `perstack.lock` records it.

    `accepted` tells how its user accepted to run it: `asked`, or `yes` where `--yes` was given.
    """

    registry: str
    key: str
    integrity: str
    accepted: Literal["asked", "yes"] | None = None

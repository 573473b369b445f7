"""Experts of registries on this disk: contents by their hash, found over an index by name.

    objects/ab/cdef…     what a version holds, as its integrity is of it
    index/HASH.json      the versions of one name of one registry that are kept, with their status
    lock                 who writes an index holds it

No name from outside is part of a path, no link inside the folder is followed, and nothing is
believed that is read here: an object has to have the hash of its name and hold the version that
was asked for, an index has to have the hash that it was written with. All of it can be removed at
any time, and is downloaded again when it is needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from perstack.domain.base import Model
from perstack.domain.registry import (
    DEFINITION_BYTES,
    Definition,
    RegistryKey,
    Status,
    content_to_keep,
)
from perstack.errors import CorruptRecordError, RegistryError, StorageError
from perstack.ports.registry import KeptExpert
from perstack.storage.own_folder import OwnFolder

_MOST_INDEX_BYTES: Final = 4 * 1024 * 1024
_MOST_ENTRIES: Final = 4_096
_FORMAT: Final = 1
_PREFIX: Final = "sha256-"

_Entry = TypeVar("_Entry")


class _Version(Model):
    integrity: Annotated[str, Field(pattern=r"^sha256-[0-9a-f]{64}$")]
    owner: str
    status: Status


class _Index(Model):
    """What is kept of one name. `led` is where its tags last led to."""

    registry: str
    name: str
    versions: dict[str, _Version] = Field(default_factory=dict[str, _Version])
    led: dict[str, str] = Field(default_factory=dict[str, str])


class _Sealed(BaseModel):
    """An index as it lies on the disk, with the hash of its text; other formats may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    format: int = _FORMAT
    sha256: str = ""
    index: str = ""


def cache_folder(env: Mapping[str, str]) -> Path:
    """Return where the user whose process environment is `env` keeps Experts of registries."""
    # A relative one would be looked for in the project, which may have brought a cache along.
    caches = Path(env.get("XDG_CACHE_HOME", ""))
    if not caches.is_absolute():
        caches = Path(env.get("HOME") or Path.home()) / ".cache"
    return caches / "perstack" / "registry"


class DiskExpertCache:
    """Implements `ports.registry.ExpertCache` in one folder, which several processes may share."""

    def __init__(self, folder: Path) -> None:
        self._folder = OwnFolder(folder)

    def find(self, registry: str, key: RegistryKey) -> KeptExpert | None:
        """Return a version that is kept, None if it is not.

        Raises:
            CorruptRecordError: what is kept is not what was kept.
            StorageError: it cannot be read.
        """
        index = self._index(registry, key.name)
        entry = index.versions.get(key.version or "")
        if entry is None:
            return None
        definition = self._object(entry.integrity, key)
        return KeptExpert(definition, entry.owner, entry.status)

    def keep(self, registry: str, kept: KeptExpert) -> None:
        """Keep a version, or what is new of it; what was damaged is replaced.

        Raises:
            RegistryError: the version is kept with other content.
            StorageError: it cannot be written.
        """
        definition = kept.definition
        content = content_to_keep(definition)
        new = _Version(integrity=definition.integrity, owner=kept.owner, status=kept.status)
        # Before anything is written, too: what was changed is told even if nothing can be.
        self._check_same(registry, definition)
        with self._folder.alone():
            old = self._check_same(registry, definition)
            self._put_object(new.integrity, content)
            if old != new:
                index = self._index_or_none(registry, definition.name)
                versions = {**index.versions, definition.version: new}
                self._put_index(index.model_copy(update={"versions": _newest(versions)}))

    def resolved(self, registry: str, key: RegistryKey) -> str | None:
        """Return the version that a name or tag last led to.

        Raises:
            CorruptRecordError: what was remembered is damaged.
            StorageError: it cannot be read.
        """
        index = self._index(registry, key.name)
        return key.version or index.led.get(key.wanted_tag or "")

    def remember(self, registry: str, key: RegistryKey, version: str) -> None:
        """Remember which version a name or tag leads to.

        Raises:
            StorageError: it cannot be written.
        """
        tag = key.wanted_tag
        if tag is None or self._index_or_none(registry, key.name).led.get(tag) == version:
            return
        with self._folder.alone():
            index = self._index_or_none(registry, key.name)
            led = _newest({**index.led, tag: version})
            self._put_index(index.model_copy(update={"led": led}))

    def _object(self, integrity: str, key: RegistryKey) -> Definition:
        content = self._folder.read(*_place(integrity), most=DEFINITION_BYTES)
        if content is None or _digest(content) != integrity.removeprefix(_PREFIX):
            raise self._damaged(str(key))
        try:
            definition = Definition.model_validate(json.loads(content))
        except (ValueError, RecursionError) as error:
            raise self._damaged(str(key)) from error
        if (definition.name, definition.version) != (key.name, key.version):
            raise self._damaged(str(key))
        return definition

    def _check_same(self, registry: str, definition: Definition) -> _Version | None:
        """Return what the index says of a version.

        Raises:
            RegistryError: it is another content.
        """
        old = self._index_or_none(registry, definition.name).versions.get(definition.version)
        if old is not None and old.integrity != definition.integrity:
            index = self._folder.path.joinpath(*_index_place(registry, definition.name))
            raise RegistryError(
                f"{definition.key} is not what was kept of it on this disk: it was "
                f"{old.integrity} and is {definition.integrity}",
                hint="a version never changes, so somebody changed it: do not run it; if the "
                f"registry is right, remove {index}",
            )
        return old

    def _put_object(self, integrity: str, content: bytes) -> None:
        with suppress(StorageError):
            if self._folder.read(*_place(integrity), most=DEFINITION_BYTES) == content:
                return
        self._folder.write(*_place(integrity), text=content.decode())

    def _index(self, registry: str, name: str) -> _Index:
        """Return what is kept of a name: nothing if there is no index, or one of another format.

        Raises:
            CorruptRecordError: it is not what was written.
            StorageError: it cannot be read.
        """
        nothing = _Index(registry=registry, name=name)
        data = self._folder.read(*_index_place(registry, name), most=_MOST_INDEX_BYTES)
        if data is None:
            return nothing
        try:
            sealed = _Sealed.model_validate_json(data)
            if sealed.format != _FORMAT:
                return nothing
            index = _Index.model_validate_json(sealed.index)
        except ValueError as error:
            raise self._damaged(name) from error
        whole = _digest(sealed.index.encode()) == sealed.sha256
        if not whole or (index.registry, index.name) != (registry, name):
            raise self._damaged(name)
        return index

    def _index_or_none(self, registry: str, name: str) -> _Index:
        """Return the index that is to be written anew; a damaged one begins again."""
        try:
            return self._index(registry, name)
        except CorruptRecordError:
            return _Index(registry=registry, name=name)

    def _put_index(self, index: _Index) -> None:
        text = index.model_dump_json()
        sealed = _Sealed(sha256=_digest(text.encode()), index=text)
        place = _index_place(index.registry, index.name)
        self._folder.write(*place, text=sealed.model_dump_json())

    def _damaged(self, what: str) -> CorruptRecordError:
        return CorruptRecordError(
            f"what is kept of {what} below {self._folder.path} is damaged",
            hint="it is downloaded again once the registry can be reached",
        )


def _place(integrity: str) -> tuple[str, str, str]:
    digest = integrity.removeprefix(_PREFIX)
    return "objects", digest[:2], digest[2:]


def _index_place(registry: str, name: str) -> tuple[str, str]:
    return "index", f"{_digest(json.dumps([registry, name]).encode())}.json"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _newest(entries: dict[str, _Entry]) -> dict[str, _Entry]:
    """Return the entries that were added last: what is dropped is downloaded again."""
    return dict(list(entries.items())[-_MOST_ENTRIES:])

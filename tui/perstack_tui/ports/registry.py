"""The registry of Experts as the cockpit sees it: looked through, read, added from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from perstack.config.untrusted import Demand, UntrustedError
from perstack.domain.ids import ExpertKey

if TYPE_CHECKING:
    from perstack.domain.registry import RegistryExpert, VersionList


class UntrustedExpertsError(UntrustedError):
    """Experts of the registry are not accepted yet; `cards` are all that each of them is.

    A card's lines are as long as what they say, and inert.
    """

    def __init__(
        self, path: Path, demands: tuple[Demand, ...], cards: Mapping[Demand, Sequence[str]]
    ) -> None:
        super().__init__(path, demands)
        self.cards = cards


@dataclass(frozen=True, slots=True)
class Shown:
    """Some Experts of the registry at `url`; `total` counts all that match."""

    url: str
    experts: tuple[RegistryExpert, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Card:
    """One version of an Expert and what other versions there are."""

    url: str
    expert: RegistryExpert
    versions: VersionList


@dataclass(frozen=True, slots=True)
class Draft:
    """What adding a delegate would make of a configuration: its text before and after."""

    path: Path
    expert: ExpertKey
    delegate: str
    before: str
    after: str

    @property
    def undone(self) -> Draft:
        """The change that puts the text back as it was before this one."""
        return replace(self, before=self.after, after=self.before)


class Catalog(Protocol):
    """Every method asks a network or a disk, within 30 s; whoever waits may be cancelled.

    All raise `UntrustedError` where the configuration names a registry that its user has not
    accepted, and else `PerstackError` alone.
    """

    async def search(self, words: str, *, take: int = 50, skip: int = 0) -> Shown:
        """Return Experts whose name or description holds `words`, by name.

        Raises:
            RegistryError: nobody answers, or nothing that can be used.
        """
        ...

    async def read(self, key: str) -> Card:
        """Return an Expert with its versions.

        Raises:
            UsageError: that is no key of an Expert.
            RegistryMissingError: there is none of that key.
            RegistryError: nobody answers, or nothing that can be used.
        """
        ...

    async def draft(self, expert: ExpertKey, delegate: str) -> Draft:
        """Return what adding `delegate` to one of the project's own Experts would change.

        Raises:
            ConfigError: it cannot be added, or there is no file.
        """
        ...

    async def save(self, draft: Draft) -> None:
        """Write what was drafted, whole or not at all.

        Raises:
            ConflictError: the file is not what it was as the draft was made.
            ConfigError: it could not be used.
            StorageError: it cannot be written.
        """
        ...

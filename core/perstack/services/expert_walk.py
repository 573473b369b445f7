"""Which Experts of a registry are reached over delegates, one level after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from perstack.config.builtin import CORE_TYPES, builtin_experts
from perstack.config.report import meant, printable
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.errors import RegistryError

# Characters that are taken for each other, and those that are overlooked.
_FOLDED: Final = str.maketrans("01i5", "olls", "-_")
MOST_FETCHED: Final = 128
DEEPEST: Final = 16
_SHOWN: Final = 80


class Walk:
    """A walk from some keys to everything that they lead to.

    Local Experts are passed through: they cost no depth, and what is theirs is never fetched.
    """

    def __init__(self, local: Mapping[ExpertKey, Expert]) -> None:
        self._own = local
        self._local = {**builtin_experts(), **local}
        self._by: dict[ExpertKey, ExpertKey | None] = {}
        self._fetched = 0
        self._depth = 0

    def begin(self, keys: Iterable[ExpertKey]) -> tuple[ExpertKey, ...]:
        """Return those of `keys`, and of what local ones lead to, that a registry has to know.

        Raises:
            RegistryError: they are more than 128.
        """
        return self._reach((key, None) for key in keys)

    def next(self, experts: Iterable[Expert]) -> tuple[ExpertKey, ...]:
        """Return what these Experts of the registry lead to that no level before them did.

        Raises:
            RegistryError: that is more than 16 delegations deep, or they are more than 128 in all.
        """
        found = self._reach((key, one.key) for one in experts for key in one.delegates)
        self._depth += 1
        if found and self._depth > DEEPEST:
            way = " → ".join(_shown(key) for key in self._way(found[0]))
            raise RegistryError(
                f"Experts delegate more than {DEEPEST} deep: {way}",
                hint="leave out one of the delegates on that way",
            )
        return found

    def delegator(self, key: ExpertKey) -> ExpertKey | None:
        """Return who delegates to an Expert, None where nobody is known to."""
        known = self._by.get(key)
        return known or next((who for who, one in self._own.items() if key in one.delegates), None)

    def meant(self, key: ExpertKey) -> str | None:
        """Return the local Expert that `key` was probably meant to be."""
        unversioned = key[:1] + key[1:].partition("@")[0]
        return meant(unversioned, (*CORE_TYPES, *self._own))

    def look_alikes(self) -> tuple[str, ...]:
        """Return what is to be said of Experts of the registry that pose as others.

        They are told apart by a character that is easily taken for another.
        """
        reached = {key[:1] + key[1:].partition("@")[0] for key in self._by}
        names = sorted(reached - self._local.keys())
        known = {_folded(key): key for key in (*names[::-1], *self._local)}
        return tuple(
            f"{_shown(name)} of the registry looks like {_shown(other)}, and is another Expert"
            for name in names
            if (other := known[_folded(name)]) != name
        )

    def _reach(self, pairs: Iterable[tuple[ExpertKey, ExpertKey | None]]) -> tuple[ExpertKey, ...]:
        found: list[ExpertKey] = []
        waiting = deque(pairs)
        while waiting:
            key, by = waiting.popleft()
            if key in self._by:
                continue
            self._by[key] = by
            own = self._local.get(key)
            if own is None:
                found.append(key)
            else:
                waiting.extend((each, key) for each in own.delegates)
        self._fetched += len(found)
        if self._fetched > MOST_FETCHED:
            way = " → ".join(_shown(key) for key in self._way(found[-1]))
            raise RegistryError(
                f"more than {MOST_FETCHED} Experts of the registry are needed, the last of them "
                f"for: {way}",
                hint="leave out some of the delegates",
            )
        return tuple(found)

    def _way(self, key: ExpertKey) -> list[ExpertKey]:
        way = [key]
        while (by := self._by[way[-1]]) is not None:
            way.append(by)
        return way[::-1]


def _folded(name: str) -> str:
    return name[:1] + name[1:].translate(_FOLDED).replace("rn", "m").replace("vv", "w")


def _shown(key: str) -> str:
    return printable(key, longest=_SHOWN)

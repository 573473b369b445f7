"""Which action does what, and why it cannot now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias


def always() -> None:
    """Return no reason: the action can be done."""
    return


@dataclass(frozen=True, slots=True)
class Deed:
    """`why_not` returns in words why it cannot be done now, None when it can."""

    do: Callable[[], None]
    why_not: Callable[[], str | None] = always


Group: TypeAlias = Mapping[str, Deed]


class Deeds:
    """The deeds of all groups by the action's id; no two groups may have the same."""

    def __init__(self, groups: Iterable[Group], refuse: Callable[[str], None]) -> None:
        self._table: dict[str, Deed] = {}
        for group in groups:
            if twice := self._table.keys() & group.keys():
                raise ValueError(f"deeds given twice: {', '.join(sorted(twice))}")
            self._table.update(group)
        self._refuse = refuse

    def __contains__(self, action_id: object) -> bool:
        return action_id in self._table

    def why_not(self, action_id: str) -> str | None:
        """Return why the action cannot be done now, None when it can."""
        deed = self._table.get(action_id)
        return deed.why_not() if deed is not None else "it is not made yet"

    def do(self, action_id: str) -> None:
        """Do the action, or tell the user why not."""
        reason = self.why_not(action_id)
        if reason is None:
            self._table[action_id].do()
        else:
            self._refuse(reason)

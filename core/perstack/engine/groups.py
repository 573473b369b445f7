"""One error out of a group of tasks, instead of a group of errors."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from perstack.errors import PerstackError


@contextmanager
def unwrapped() -> Generator[None]:
    """Raise the first of our own errors in an exception group by itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        own = _first(group)
        if own is None:
            raise
        raise own from group


def _first(group: BaseExceptionGroup[BaseException]) -> PerstackError | None:
    own = group.subgroup(PerstackError)
    while own is not None:
        first = own.exceptions[0]
        if isinstance(first, PerstackError):
            return first
        own = first
    return None


@contextmanager
def alone() -> Generator[None]:
    """Take a lone exception, whose ever it is, out of the groups that task groups put it in."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves: list[BaseException] = []

        def note(one: BaseException) -> bool:
            if not isinstance(one, BaseExceptionGroup):
                leaves.append(one)
            return False

        group.subgroup(note)
        if len(leaves) != 1:
            raise
        raise leaves[0] from leaves[0].__cause__

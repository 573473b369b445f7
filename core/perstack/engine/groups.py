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

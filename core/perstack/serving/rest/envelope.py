"""What every answer under /api/v1 looks like, and every error."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import Field

from perstack.domain.base import Model
from perstack.domain.moments import Moment
from perstack.ports.system import SystemClock

T = TypeVar("T")


def _now() -> int:
    return SystemClock().now_ms()


class Envelope(Model, Generic[T]):
    """An answer."""

    success: Literal[True] = True
    data: T
    timestamp: Moment = Field(default_factory=_now)


class Pagination(Model):
    """Where in a list one is. `total` counts all that there are."""

    limit: int
    offset: int
    total: int


class Page(Model, Generic[T]):
    """Part of a list."""

    success: Literal[True] = True
    data: tuple[T, ...]
    pagination: Pagination
    timestamp: Moment = Field(default_factory=_now)


class Refusal(Model):
    """An error. `code` is stable, `hint` what to do about it."""

    success: Literal[False] = False
    error: str
    code: str
    hint: str | None = None
    timestamp: Moment = Field(default_factory=_now)


def ok(data: T) -> Envelope[T]:
    """Return an answer."""
    return Envelope[T](data=data)


def page(data: tuple[T, ...], *, limit: int, offset: int, total: int) -> Page[T]:
    """Return part of a list."""
    return Page[T](data=data, pagination=Pagination(limit=limit, offset=offset, total=total))

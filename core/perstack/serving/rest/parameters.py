"""What routes of several areas take: ids, parts of lists, bodies."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path, Query
from pydantic import ConfigDict, Strict

from perstack.domain.base import Model
from perstack.domain.ids import AgentId, IdentityId, SessionId

ID_LENGTH: Final = 200
MOST_LISTED: Final = 1_000
FURTHEST: Final = 1_000_000_000
REASON_LENGTH: Final = 1_000

Yes = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Share = Annotated[float, Strict()]

Limit = Annotated[int, Query(ge=1, le=MOST_LISTED, description="How many at most.")]
Offset = Annotated[int, Query(ge=0, le=FURTHEST, description="How many to leave out first.")]
SessionQuery = Annotated[
    SessionId | None, Query(alias="sessionId", min_length=1, max_length=ID_LENGTH)
]
AgentQuery = Annotated[AgentId | None, Query(alias="agentId", min_length=1, max_length=ID_LENGTH)]
AgentPath = Annotated[AgentId, Path(alias="id", min_length=1, max_length=ID_LENGTH)]
IdentityPath = Annotated[IdentityId, Path(alias="id", min_length=1, max_length=ID_LENGTH)]
SessionPath = Annotated[SessionId, Path(alias="id", min_length=1, max_length=ID_LENGTH)]


class Body(Model):
    """The base of what a request's body holds. Nothing beside its fields is taken."""

    model_config = ConfigDict(use_attribute_docstrings=True, defer_build=False)

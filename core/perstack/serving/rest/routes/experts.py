"""/api/v1/experts."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path

from perstack.domain.ids import ExpertKey
from perstack.domain.job_views import ExpertList, ExpertView
from perstack.serving.rest.context import Services, needs
from perstack.serving.rest.envelope import Envelope, ok

router = APIRouter(prefix="/experts", tags=["experts"])
READS = Depends(needs("experts", "read"))
_KEY_LENGTH: Final = 600


KeyPath = Annotated[ExpertKey, Path(alias="key", min_length=1, max_length=_KEY_LENGTH)]


@router.get("", dependencies=[READS])
async def list_experts(services: Services) -> Envelope[ExpertList]:
    """List the project's Experts, then the built-in ones that it does not define itself."""
    return ok(services.experts.listed())


@router.get("/{key:path}", dependencies=[READS])
async def get_expert(services: Services, key: KeyPath) -> Envelope[ExpertView]:
    """Return one; a key such as `@owner/name` is written as it is."""
    return ok(services.experts.find(key))

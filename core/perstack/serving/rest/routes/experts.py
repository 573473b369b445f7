"""/api/v1/experts."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path

from perstack.config.builtin import builtin_experts
from perstack.domain.ids import ExpertKey
from perstack.domain.job_views import ExpertList, ExpertView, expert_view
from perstack.errors import NotFoundError
from perstack.serving.backend import Served
from perstack.serving.rest.context import Services, needs
from perstack.serving.rest.envelope import Envelope, ok

router = APIRouter(prefix="/experts", tags=["experts"])
READS = Depends(needs("experts", "read"))
_KEY_LENGTH: Final = 600


KeyPath = Annotated[ExpertKey, Path(alias="key", min_length=1, max_length=_KEY_LENGTH)]


@router.get("", dependencies=[READS])
async def list_experts(services: Services) -> Envelope[ExpertList]:
    """List the project's Experts, then the built-in ones that it does not define itself."""
    views = _views(services)
    return ok(ExpertList(count=len(views), experts=tuple(views.values())))


@router.get("/{key:path}", dependencies=[READS])
async def get_expert(services: Services, key: KeyPath) -> Envelope[ExpertView]:
    """Return one; a key such as `@owner/name` is written as it is."""
    found = _views(services).get(key)
    if found is None:
        raise NotFoundError("Expert not found", hint="GET /api/v1/experts lists them")
    return ok(found)


def _views(services: Served) -> dict[ExpertKey, ExpertView]:
    own = services.runtime.project.config.experts
    return {
        **{key: expert_view(one, "project") for key, one in own.items()},
        **{
            key: expert_view(one, "builtin")
            for key, one in builtin_experts().items()
            if key not in own
        },
    }

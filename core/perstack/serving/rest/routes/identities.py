"""/api/v1/identities."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/identities", tags=["identities"])

"""/api/v1/filesystem."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/filesystem", tags=["filesystem"])

"""/api/v1/system."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/system", tags=["system"])

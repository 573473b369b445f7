"""/api/v1/consensus."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/consensus", tags=["consensus"])

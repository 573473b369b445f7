"""/api/v1/experts."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/experts", tags=["experts"])

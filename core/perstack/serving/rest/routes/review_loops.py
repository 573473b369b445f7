"""/api/v1/review-loops."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/review-loops", tags=["review-loops"])

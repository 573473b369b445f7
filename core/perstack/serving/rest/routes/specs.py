"""/api/v1/specs, /specifications and /tasks/:id/specs."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(tags=["specs"])

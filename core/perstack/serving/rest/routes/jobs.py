"""/api/v1/jobs, with their runs and checkpoints."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(tags=["jobs"])

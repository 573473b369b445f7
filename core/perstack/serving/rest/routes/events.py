"""The feed: GET /events as server-sent events, and /ws."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(tags=["events"])

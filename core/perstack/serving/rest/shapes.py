"""Answers that routes of several areas give."""

from __future__ import annotations

from typing import Literal

from perstack.domain.base import Model


class Deleted(Model):
    """That something is gone."""

    deleted: Literal[True] = True

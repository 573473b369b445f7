"""What is told of one task, in the seed's shape and somewhat wider."""

from __future__ import annotations

from typing import Literal

from perstack.domain.base import Model
from perstack.domain.tasks import Task


class TaskReport(Model):
    """A task, whole."""

    found: Literal[True] = True
    task: Task

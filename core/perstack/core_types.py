"""The names of the built-in Experts. Imports nothing: error messages name them, too."""

from __future__ import annotations

from typing import Final

CORE_TYPE_NAMES: Final = (
    "coder",
    "researcher",
    "tester",
    "reviewer",
    "adversarial",
    "architect",
    "coordinator",
    "analyst",
    "devops",
    "documentation",
    "security-auditor",
)

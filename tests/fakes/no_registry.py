"""Where no registry of Experts answers: no test may ask the public one."""

from __future__ import annotations

from typing import Final

NO_REGISTRY: Final = "http://127.0.0.1:9"

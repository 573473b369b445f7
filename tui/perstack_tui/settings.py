"""How the user wants the cockpit: `cockpit.toml` in the user's configuration folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Borders = Literal["round", "ascii"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What `cockpit.toml` says. `keys` maps action ids to keys, in Textual's names."""

    theme: str = "dark"
    borders: Borders = "round"
    motion: bool = True
    mouse: bool = True
    notify: bool = True
    hold_s: float = 3.0
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

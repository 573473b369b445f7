"""What a project asks its user for, and the error that lists it. Light: screens need it early."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from perstack.config.report import printable
from perstack.errors import ConfigError

Kind = Literal["command", "address", "variable"]


@dataclass(frozen=True, slots=True, order=True)
class Demand:
    """One thing that a project would do with the user's means. `text` is shown whole."""

    kind: Kind
    text: str

    @property
    def digest(self) -> str:
        """The content hash that is accepted."""
        return hashlib.sha256(f"{self.kind}\0{self.text}".encode()).hexdigest()


class UntrustedError(ConfigError):
    """The project asks for things that its user has not accepted; `demands` are those."""

    code = "config.untrusted"

    def __init__(self, path: Path, demands: tuple[Demand, ...]) -> None:
        # Whole: what was not shown was not accepted.
        listed = "".join(f"\n  {printable(demand.text)}" for demand in demands)
        super().__init__(
            f"{printable(str(path))} was found, not named, and has not been accepted yet. "
            f"It would:{listed}",
            hint="read it; then add --trust (once), or name the file with --config",
        )
        self.demands = demands

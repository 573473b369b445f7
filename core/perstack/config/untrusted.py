"""What a project asks its user for, and the error that lists it. Light: screens need it early."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from perstack.config.report import printable
from perstack.errors import ConfigError

Kind = Literal["command", "address", "variable", "expert"]


@dataclass(frozen=True, slots=True, order=True)
class Demand:
    """One thing that a project would do with the user's means. `text` is shown whole.

    `seal` is a hash of what the text names by a hash of its own, as it is in fact: whoever wrote
    the definition may have written there whatever they liked. `variable` is the name of the one
    that an env file would set; it stands in the text, so that it is no part of what is accepted.
    """

    kind: Kind
    text: str
    seal: str = ""
    variable: str = field(default="", compare=False)

    @property
    def digest(self) -> str:
        """The content hash that is accepted."""
        said = (self.kind, self.text, *((self.seal,) if self.seal else ()))
        return hashlib.sha256("\0".join(said).encode()).hexdigest()


class UntrustedError(ConfigError):
    """The project asks for things that its user has not accepted; `demands` are those."""

    code = "config.untrusted"

    def __init__(self, path: Path, demands: tuple[Demand, ...]) -> None:
        # Whole: what was not shown was not accepted.
        fetched = [demand for demand in demands if demand.kind == "expert"]
        own = [demand for demand in demands if demand.kind != "expert"]
        said: list[str] = []
        hints: list[str] = []
        if own and all(demand.kind == "variable" for demand in own):
            # An env file is not named with the configuration.
            said.append(f"An env file has not been accepted yet. It would:{_listed(own)}")
            hints.append("add --trust (once), or export it in the shell")
        elif own:
            said.append(
                f"{printable(str(path))} was found, not named, and has not been accepted yet. "
                f"It would:{_listed(own)}"
            )
            hints.append("read it; then add --trust (once), or name the file with --config")
        if fetched:
            said.append(
                f"Experts of the registry have not been accepted yet. This would:{_listed(fetched)}"
            )
            hints.append("perstack info KEY shows all of one; then add --yes (once)")
        super().__init__("\n".join(said), hint="; ".join(hints))
        self.demands = demands


def _listed(demands: Iterable[Demand]) -> str:
    return "".join(f"\n  {printable(demand.text)}" for demand in demands)

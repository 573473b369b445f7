"""Standing approvals: a tool with exact arguments that needs no decision in the rest of a job."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import ConsensusId, JobId, StandingId


class StandingApproval(Model):
    """Who let which call pass, from which consensus checkpoint on. Times in Unix milliseconds.

    `arguments` is `canonical` of what people saw: nothing shorter is compared.
    """

    id: StandingId
    job_id: JobId
    skill_name: str
    tool_name: str
    arguments: str
    consensus_id: ConsensusId
    approved_by: str
    approved_at: int
    revoked_by: str | None = None
    revoked_at: int | None = None

    @property
    def is_revoked(self) -> bool:
        """Whether somebody took it back."""
        return self.revoked_at is not None

    def covers(self, skill_name: str, tool_name: str, args: Mapping[str, JsonValue]) -> bool:
        """Tell whether it is of exactly this call; whether it still stands is another question."""
        named = (self.skill_name, self.tool_name) == (skill_name, tool_name)
        return named and self.arguments == canonical(args)


def canonical(args: Mapping[str, JsonValue]) -> str:
    """Return arguments as text that is the same only for the same arguments."""
    return json.dumps(args, sort_keys=True, separators=(",", ":"))

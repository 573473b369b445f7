"""Standing approvals: a tool with exact arguments that needs no decision in the rest of a job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.expert import BaseSkill, SkillSpec
from perstack.domain.ids import ConsensusId, ExpertKey, JobId, StandingId
from perstack.domain.settings import Settings


class ExactCall(Model):
    """Which Expert calls which tool of which skill, with what.

    `skill_digest` is `definition_digest` of the skill, so that another server under the same name
    is another skill. `arguments` is `canonical` of what people saw: nothing shorter is compared.
    """

    expert_key: ExpertKey
    skill_name: str
    skill_digest: str
    tool_name: str
    arguments: str


class StandingApproval(ExactCall):
    """Who let which call pass, from which consensus checkpoint on. Times in Unix milliseconds."""

    id: StandingId
    job_id: JobId
    consensus_id: ConsensusId
    approved_by: str
    approved_at: int
    revoked_by: str | None = None
    revoked_at: int | None = None

    @property
    def is_revoked(self) -> bool:
        """Whether somebody took it back."""
        return self.revoked_at is not None

    def covers(self, call: ExactCall) -> bool:
        """Tell whether it is of exactly this call; whether it still stands is another question."""
        return all(getattr(self, name) == getattr(call, name) for name in ExactCall.model_fields)


def canonical(args: Mapping[str, JsonValue]) -> str:
    """Return arguments as text that is the same only for the same arguments."""
    return json.dumps(args, sort_keys=True, separators=(",", ":"))


def definition_digest(skill: SkillSpec | None, settings: Settings) -> str:
    """Return a digest of how a skill is defined; of the base skill, also of what it is held to."""
    defined = None if skill is None else skill.model_dump(mode="json")
    held_to: list[JsonValue] = []
    if isinstance(skill, BaseSkill):
        held_to = [settings.exec.model_dump(mode="json"), list(settings.base_skill_command)]
    exact = json.dumps([defined, *held_to], sort_keys=True)
    return hashlib.sha256(exact.encode()).hexdigest()

"""Identifiers, and the rule for those that become file names."""

from __future__ import annotations

import re
from typing import Final, NewType

from perstack.errors import UsageError

JobId = NewType("JobId", str)
RunId = NewType("RunId", str)
CheckpointId = NewType("CheckpointId", str)
MessageId = NewType("MessageId", str)
ToolCallId = NewType("ToolCallId", str)
ExpertKey = NewType("ExpertKey", str)
ConsensusId = NewType("ConsensusId", str)
SubtaskId = NewType("SubtaskId", str)
StandingId = NewType("StandingId", str)
AgentId = NewType("AgentId", str)
IdentityId = NewType("IdentityId", str)
SessionId = NewType("SessionId", str)
TaskId = NewType("TaskId", str)
MemoryId = NewType("MemoryId", str)

_PATH_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


def check_path_id(kind: str, value: str) -> str:
    """Return `value` if it can safely name a directory: 1 to 128 letters, digits, `_`, `-`.

    Raises:
        UsageError: it could not; `kind` ("job id") names it in the message.
    """
    if _PATH_SAFE.fullmatch(value):
        return value
    shown = ascii(value[:40])
    raise UsageError(
        f"{kind} {shown} is not usable",
        hint="use 1 to 128 letters, digits, '_' or '-', beginning with a letter or digit",
    )

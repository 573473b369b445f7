"""What a person is told of a job in a container: the same as of one that is driven here."""

from __future__ import annotations

from perstack.domain.events import CallInteractiveTool, Event, RequestApproval
from perstack.domain.server_events import RequestInput
from perstack.ports.notices import Notice

_TITLE_CHARACTERS = 200


def notice_of(event: Event) -> Notice | None:
    """Return what to tell when a run begins to wait for a person, None when it does not."""
    match event.body:
        case RequestApproval() as asked:
            return Notice(
                kind="consensus",
                job_id=event.job_id,
                run_id=event.run_id,
                expert_key=event.expert_key,
                title=asked.reason[:_TITLE_CHARACTERS],
                risk=asked.risk_level,
                consensus_id=asked.consensus_id,
                expires_at=asked.expires_at,
            )
        case RequestInput() as asked:
            return Notice(
                kind="consensus" if asked.kind == "sampling" else "question",
                job_id=event.job_id,
                run_id=event.run_id,
                expert_key=event.expert_key,
                title=asked.message[:_TITLE_CHARACTERS],
                consensus_id=asked.consensus_id,
                expires_at=asked.expires_at,
            )
        case CallInteractiveTool():
            return Notice(
                kind="question",
                job_id=event.job_id,
                run_id=event.run_id,
                expert_key=event.expert_key,
                title="the Expert asks a question",
            )
        case _:
            return None

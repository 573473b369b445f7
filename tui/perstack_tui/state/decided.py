"""What was decided, and the moment just before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perstack_tui.ports.travel import Moment
from perstack_tui.state.index import Index

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint


def moment_before(index: Index, gate: ConsensusCheckpoint) -> Moment | None:
    """Return the checkpoint of the gate's run that is nearest before it, None without one."""
    run = index.run(gate.run_id)
    if run is None:
        return None
    earlier = [point for point in run.points if point.timestamp <= gate.created_at]
    if not earlier:
        return None
    return Moment(run.job_id, run.run_id, earlier[-1].checkpoint_id)

"""A job's checkpoints: which there are, and one of them as Perstack's JSON."""

from __future__ import annotations

from collections import deque
from contextlib import aclosing

from perstack.domain.ids import CheckpointId, JobId
from perstack.errors import NotFoundError
from perstack.ports.history import History
from perstack.projection.event_facts import made_checkpoint
from perstack.projection.perstack_json import PerstackJson
from perstack.projection.perstack_parts import Json
from perstack.projection.replay import MAKES_CHECKPOINT, makes_one_of
from perstack.services.looking import JobRuns, find_checkpoint


async def newest_checkpoints(history: History, job_id: JobId, limit: int) -> list[CheckpointId]:
    """Return the newest `limit` checkpoints of all the job's runs, newest first.

    Raises:
        NotFoundError: no such job.
        StorageError: its records cannot be read.
    """
    found = deque[CheckpointId](maxlen=limit)
    run_ids = [setting.run_id for setting in await history.list_runs(job_id)]
    async with aclosing(history.read_records(job_id, run_ids)) as batches:
        async for batch in batches:
            for record in batch.records:
                made = made_checkpoint(record.event()) if record.type in MAKES_CHECKPOINT else None
                if made is not None:
                    found.append(made)
    return list(reversed(found))


async def show_checkpoint(history: History, job_id: JobId, wanted: CheckpointId) -> Json:
    """Return a checkpoint with all messages up to it.

    Raises:
        NotFoundError: no such job or checkpoint.
        StorageError: its records cannot be read.
    """
    runs = JobRuns(await history.list_runs(job_id))
    run_id = await find_checkpoint(history, job_id, runs.ids, wanted)
    if run_id is not None:
        maker = PerstackJson(full=True, points=runs.points)
        async with aclosing(history.read_records(job_id, runs.leading_to(run_id))) as batches:
            async for batch in batches:
                for record in batch.records:
                    if not makes_one_of(record, {wanted}):
                        maker.skip(record.event())
                        continue
                    made = maker.checkpoint(record.event())
                    if made is not None and made["id"] == wanted:
                        return made
    raise NotFoundError(
        f"checkpoint not found: {wanted}",
        hint=f"perstack log --job {job_id} lists the job's checkpoints",
    )

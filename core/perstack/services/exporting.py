"""A job as one document, a piece at a time: Perstack's JSON, or Markdown to read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

from perstack.domain.events import Event, StopRunByDelegate
from perstack.domain.ids import JobId, RunId
from perstack.domain.jobs import RunSetting
from perstack.ports.history import History
from perstack.projection.markdown import MarkdownRuns, job_heading, run_heading
from perstack.projection.perstack_json import PerstackJson
from perstack.projection.perstack_parts import Json, plain, to_line
from perstack.projection.replay import MAKES_CHECKPOINT
from perstack.projection.spans import Spans, SpanView
from perstack.services.looking import JobRuns, JobSeen

Redact = Callable[[str], str]
_SPANS_AT_ONCE: Final = 200


class Export:
    """One job's document. `damage` tells, once it was written, what was wrong with its records."""

    def __init__(self, history: History, seen: JobSeen, runs: JobRuns, redact: Redact) -> None:
        self.damage: list[str] = []
        self._history = history
        self._seen = seen
        self._runs = runs
        self._redact = redact
        self._told: set[RunId] = set()
        self._last_seqs: dict[RunId, int] = {}

    @property
    def _job_id(self) -> JobId:
        return self._seen.job.id

    # ---------------------------------------------------------------- JSON

    async def json(self) -> AsyncGenerator[str, None]:
        """Yield `{job, runs: [{runSetting, checkpoints, events}]}`.

        Checkpoints hold their whole message history. The events are those that `run` prints:
        theirs do not, but have the ids of these.

        Raises:
            CorruptRecordError: a record is damaged.
        """
        yield f'{{"job":{self._line(plain(self._seen.job) | {"state": self._seen.state})},"runs":['
        whole = PerstackJson(full=True, points=self._runs.points)
        slim = PerstackJson(full=False, points=self._runs.points)
        comma = ""
        for setting in self._runs.parents_first():
            yield f'{comma}\n{{"runSetting":{self._line(plain(setting))},"checkpoints":['
            async with aclosing(self._checkpoints(setting, whole)) as pieces:
                async for piece in pieces:
                    yield piece
            yield '\n],"events":['
            async with aclosing(self._events(setting, slim)) as pieces:
                async for piece in pieces:
                    yield piece
            yield "\n]}"
            comma = ","
            whole.forget(setting.run_id)
            slim.forget(setting.run_id)
        yield "\n]}\n"

    async def _checkpoints(
        self, setting: RunSetting, records: PerstackJson
    ) -> AsyncGenerator[str, None]:
        comma, made = "", set[str]()
        async with aclosing(self._read(setting.run_id)) as events:
            async for event in events:
                self._last_seqs[setting.run_id] = event.seq
                if event.body.type not in MAKES_CHECKPOINT:
                    records.skip(event)
                    continue
                checkpoint = records.checkpoint(event)
                # A run suspended in mid-step names its last checkpoint again: the first counts.
                if checkpoint is None or str(checkpoint["id"]) in made:
                    continue
                made.add(str(checkpoint["id"]))
                yield f"{comma}\n{self._line(checkpoint)}"
                comma = ","

    async def _events(
        self, setting: RunSetting, records: PerstackJson
    ) -> AsyncGenerator[str, None]:
        comma = ""
        async with aclosing(self._read(setting.run_id)) as events:
            async for event in events:
                # What a run that is still driven has added since has no checkpoint above.
                if event.seq > self._last_seqs.get(setting.run_id, -1):
                    return
                yield f"{comma}\n{self._redact(records.event_line(event))}"
                comma = ","

    def _line(self, record: Json) -> str:
        return self._redact(to_line(record))

    # ---------------------------------------------------------------- Markdown

    async def markdown(self) -> AsyncGenerator[str, None]:
        """Yield a transcript: each run where it was delegated, indented as a quotation.

        Raises:
            CorruptRecordError: a record is damaged.
        """
        pages = MarkdownRuns(self._redact, points=self._runs.points)
        for line in job_heading(self._seen.job, self._seen.state):
            yield line + "\n"
        for setting in self._runs.parents_first():
            if setting.delegated_by is not None:
                continue
            async with aclosing(self._run(setting, pages, "")) as lines:
                async for line in lines:
                    yield line
        # Runs whose beginning the parent did not live to record.
        for setting in self._runs.parents_first():
            async with aclosing(self._run(setting, pages, "")) as lines:
                async for line in lines:
                    yield line

    async def _run(
        self, setting: RunSetting, pages: MarkdownRuns, margin: str
    ) -> AsyncGenerator[str, None]:
        if setting.run_id in self._told:
            return
        self._told.add(setting.run_id)
        for line in run_heading(setting):
            yield _margined(line, margin)
        async with aclosing(self._read(setting.run_id)) as events:
            async for event in events:
                for line in pages.event(event):
                    yield _margined(line, margin)
                for child in self._delegated(event):
                    yield _margined("", margin)
                    async with aclosing(self._run(child, pages, margin + "> ")) as lines:
                        async for line in lines:
                            yield line
                    yield _margined("", margin)
        for line in pages.ending(setting.run_id):
            yield _margined(line, margin)

    def _delegated(self, event: Event) -> Sequence[RunSetting]:
        if not isinstance(event.body, StopRunByDelegate):
            return ()
        found = (self._runs.setting(child.run_id) for child in event.body.delegate_to)
        return [each for each in found if each is not None and each.run_id not in self._told]

    # ---------------------------------------------------------------- reading

    async def _read(self, run_id: RunId) -> AsyncGenerator[Event, None]:
        batches = self._history.read_records(self._job_id, [run_id])
        async with aclosing(batches):
            async for batch in batches:
                for record in batch.records:
                    yield record.event()
                told = [f"run {id_}: {damage}" for id_, damage in batch.damaged]
                self.damage += [line for line in told if line not in self.damage]


async def span_batches(
    history: History, job_id: JobId, runs: JobRuns, *, redact: Redact | None
) -> AsyncGenerator[list[SpanView], None]:
    """Yield the job's spans, a few hundred at a time; with `redact`, what was said is in them.

    Raises:
        CorruptRecordError: a record is damaged.
    """
    spans = Spans(redact=redact)
    ended: list[SpanView] = []
    batches = history.read_records(job_id, runs.ids)
    async with aclosing(batches):
        async for batch in batches:
            for record in batch.records:
                ended += spans.event(record.event())
                if len(ended) >= _SPANS_AT_ONCE:
                    yield ended
                    ended = []
    ended += spans.end()
    for at in range(0, len(ended), _SPANS_AT_ONCE):
        yield ended[at : at + _SPANS_AT_ONCE]


def _margined(line: str, margin: str) -> str:
    return (f"{margin}{line}" if line else margin.rstrip()) + "\n"

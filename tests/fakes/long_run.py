"""Hours of work of many runs, as fast as they can be folded: event after event, kept nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from perstack.domain.events import Body, Delta, Event
from perstack.domain.ids import ExpertKey, JobId
from perstack.ports.history import FeedBatch
from tests.unit.projection.builder import Clock, Run, call, usage

JOBS = 4


@dataclass
class Endless(Run):
    """A run that keeps none of the events it makes."""

    count: int = 0

    def add(self, body: Body) -> Event:
        event = Event(
            seq=self.count,
            timestamp=self.clock.tick(),
            job_id=self.job,
            run_id=self.id,
            expert_key=ExpertKey(self.key),
            step_number=self.step,
            body=body,
        )
        self.count += 1
        self.events.append(event)
        return event

    def taken(self) -> list[Event]:
        """Return what was added since, and forget it."""
        events, self.events = self.events, []
        return events

    def begin(self) -> None:
        self.init(query="Work on")
        self.start("Work on")

    def step_on(self, number: int) -> tuple[list[Delta], list[Event]]:
        """Say something, write a file, come to a checkpoint."""
        told = (
            f"Step {number}: **changed** `file{number % 50}.py`, see https://example.org/{number}\n"
        )
        part = call(f"t{number}", "writeTextFile", path=f"file{number % 50}.py", text=told * 20)
        self.tools(part, text=told * 3, spent=usage(1000 + number % 97, 20))
        self.returns(part, "{}")
        self.close_batch()
        self.next_step()
        self.routes.clear()
        pieces = [told[at : at + 12] for at in range(0, 36, 12)]
        return [self._delta(piece) for piece in pieces], self.taken()

    def _delta(self, text: str) -> Delta:
        return Delta.model_validate(
            {
                "jobId": self.job,
                "runId": self.id,
                "expertKey": self.key,
                "stepNumber": self.step,
                "stream": "text",
                "kind": "delta",
                "text": text,
            }
        )


def hours(runs: int) -> Iterator[FeedBatch]:
    """Yield batches without end; each is a step of every one of `runs` runs."""
    clock = Clock()
    crew = [
        Endless(f"run{n}", f"expert{n}", clock, job=JobId(f"job{n % JOBS}")) for n in range(runs)
    ]
    for run in crew:
        run.begin()
    yield FeedBatch(events=tuple(event for run in crew for event in run.taken()), caught_up=True)
    number = 0
    while True:
        number += 1
        deltas: list[Delta] = []
        events: list[Event] = []
        for run in crew:
            said, done = run.step_on(number)
            deltas += said
            events += done
        yield FeedBatch(deltas=tuple(deltas))
        yield FeedBatch(events=tuple(events))

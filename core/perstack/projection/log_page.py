"""`perstack log` without its disk: which events of a job are shown, as text or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from perstack.domain.events import Event
from perstack.domain.jobs import Job
from perstack.projection.log_filter import LogFilter, Record
from perstack.projection.log_text import EventLines, header_lines, summarize, summary_line
from perstack.projection.perstack_json import PerstackJson
from perstack.projection.perstack_parts import plain, to_line
from perstack.projection.run_state import made_checkpoint

NOTHING = "No data found"


@dataclass(frozen=True, slots=True)
class LogPage:
    """A job's events in order, and what was wrong with some run's record."""

    job: Job
    is_latest: bool
    events: Sequence[Event]
    damage: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Which events, and how much of them. `take` 0 means all.

    `checkpoint` says that the last event made the checkpoint that is asked about.
    """

    storage: str
    only: LogFilter
    condition: Callable[[Record], bool] | None = None
    take: int = 100
    offset: int = 0
    pretty: bool = False
    summary_only: bool = False
    checkpoint: bool = False


def merged(events: list[Event]) -> list[Event]:
    """Order the events of several runs by time, within each as recorded, whatever a clock did."""
    latest: dict[str, int] = {}
    keyed: list[tuple[int, Event]] = []
    for event in events:
        latest[event.run_id] = max(latest.get(event.run_id, 0), event.timestamp)
        keyed.append((latest[event.run_id], event))
    return [event for _, event in sorted(keyed, key=lambda pair: pair[0])]


def up_to(page: LogPage, checkpoint: str) -> LogPage | None:
    """Return what led to a checkpoint in its run, None when nothing made it."""
    made = next((event for event in page.events if made_checkpoint(event) == checkpoint), None)
    if made is None:
        return None
    own = [event for event in page.events if event.run_id == made.run_id]
    return LogPage(page.job, page.is_latest, own[: own.index(made) + 1], page.damage)


def _chosen(page: LogPage, want: LogRequest) -> list[bool]:
    """For each event, whether it passes the filters (paging comes later)."""
    chosen = [want.only.passes(event) for event in page.events]
    if want.condition is not None:
        records = PerstackJson(full=False)
        for number, event in enumerate(page.events):
            if chosen[number]:
                chosen[number] = want.condition(records.event(event))
            else:
                records.skip(event)
    return chosen


def _paged(chosen: list[bool], want: LogRequest) -> list[bool]:
    """Keep `take` of the chosen ones after the first `offset`."""
    paged: list[bool] = []
    seen = 0
    for wanted in chosen:
        number = seen
        seen += wanted
        within = number >= want.offset and (not want.take or number < want.offset + want.take)
        paged.append(wanted and within)
    return paged


def text_lines(page: LogPage, want: LogRequest) -> Iterator[str]:
    """Return header, summary and events as text, or that there is nothing."""
    chosen = _chosen(page, want)
    matched = sum(chosen)
    if not matched:
        yield NOTHING
        return
    storage = want.storage
    yield from header_lines(page.job, storage=storage, is_latest=page.is_latest)
    events = [event for event, wanted in zip(page.events, chosen, strict=True) if wanted]
    yield summary_line(summarize(events))
    if want.summary_only:
        return
    yield ""
    lines = EventLines()
    shown = _paged(chosen, want)
    for event, wanted in zip(page.events, shown, strict=True):
        yield from lines.lines(event, shown=wanted)
    if sum(shown) < matched:
        yield ""
        yield f"{sum(shown)} of {matched} events shown; --offset and --take choose (--take 0: all)"


def json_lines(page: LogPage, want: LogRequest) -> Iterator[str]:
    """Return one JSON object, or the words that there is nothing."""
    chosen = _chosen(page, want)
    if not any(chosen):
        yield NOTHING
        return
    shown = _paged(chosen, want)
    record: Record = {"job": plain(page.job)}
    if want.checkpoint:
        record["checkpoint"] = _whole_checkpoint(page)
    if not want.summary_only:
        record["events"] = list(_records(page, shown, PerstackJson(full=False)))
    record |= _counts(page, chosen, shown)
    record["isLatestJob"] = page.is_latest
    record["storagePath"] = want.storage
    line = to_line(record)
    yield json.dumps(json.loads(line), indent=2) if want.pretty else line


def _records(page: LogPage, shown: list[bool], records: PerstackJson) -> Iterator[Record]:
    for event, wanted in zip(page.events, shown, strict=True):
        if wanted:
            yield records.event(event)
        else:
            records.skip(event)


def _counts(page: LogPage, chosen: list[bool], shown: list[bool]) -> Record:
    summary = summarize(event for event, wanted in zip(page.events, chosen, strict=True) if wanted)
    steps = summary.steps or (0, 0)
    return {
        "summary": {
            "totalEvents": summary.total,
            "errorCount": summary.errors,
            "toolCallCount": summary.tool_calls,
            "delegationCount": summary.delegations,
            "stepRange": {"min": steps[0], "max": steps[1]},
        },
        "totalEventsBeforeLimit": sum(chosen),
        "matchedAfterPagination": sum(shown),
    }


def _whole_checkpoint(page: LogPage) -> Record:
    """The checkpoint that the last event made, with all its messages."""
    records = PerstackJson(full=True)
    for event in page.events[:-1]:
        records.skip(event)
    checkpoint = records.event(page.events[-1]).get("checkpoint")
    return checkpoint if isinstance(checkpoint, dict) else {}

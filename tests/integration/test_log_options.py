"""The options of `perstack log` beyond choosing by type, step and page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perstack.domain.events import Event
from perstack.errors import CorruptRecordError, UsageError
from perstack.projection.event_facts import made_checkpoint
from tests.fakes.stored import store, typed
from tests.unit.projection.builder import Clock, Run, call, chain, parallel, usage
from tests.unit.projection.test_replay import forks

Json = dict[str, Any]
LONG = "A sentence that is much longer than any preview of it may be. " * 4


def log(workspace: Path, *options: str) -> str:
    return typed("log", "--workspace", str(workspace), *options).stdout


def shown(workspace: Path, *options: str) -> Json:
    return json.loads(log(workspace, "--json", *options))


def talkative() -> list[Event]:
    run = Run("r-talk", "talker", Clock())
    run.init(query="Go")
    run.start(LONG)
    part = call("t1", "exec", command="echo", text=LONG)
    run.tools(part, text=LONG, thinking="Hm.", spent=usage(1200, 34))
    run.returns(part, LONG)
    run.close_batch()
    run.next_step()
    run.complete("Done.", usage(1300, 5))
    return run.events


def test_a_job_is_named_by_its_first_characters(tmp_path: Path) -> None:
    store(tmp_path, chain(), job="abcdef1")
    store(tmp_path, parallel(), job="abcdxyz")
    assert "Job: abcdef1\n" in log(tmp_path, "--job", "abcde")
    assert "No data found" in log(tmp_path, "--job", "abc")
    with pytest.raises(UsageError, match="2 jobs begin with abcd"):
        log(tmp_path, "--job", "abcd")


def test_a_history_that_lies_elsewhere_is_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "before").mkdir()
    store(tmp_path / "before", chain(), job="moved1")
    elsewhere = (tmp_path / "before" / "perstack").rename(tmp_path / "kept")
    monkeypatch.setenv("PERSTACK_STORAGE_PATH", str(elsewhere))
    told = typed("log").stdout
    assert f"Storage: {elsewhere}\n" in told
    assert "Job: moved1 (showing latest job)\n" in told
    assert "moved1" in typed("jobs").stdout
    here = tmp_path / "here"
    here.mkdir()
    store(here, parallel(), job="local1")
    assert "Job: local1" in log(here)
    monkeypatch.setenv("PERSTACK_STORAGE_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="there is no folder"):
        typed("log")


def test_verbose_adds_ids_usage_and_cost_and_cuts_nothing(tmp_path: Path) -> None:
    events = talkative()
    store(tmp_path, events)
    calm, verbose = log(tmp_path), log(tmp_path, "--verbose")
    assert LONG.strip() not in calm
    assert verbose.count(LONG.strip()) == 5  # query, answer, argument, and the result twice
    for event in events:
        assert f"event {event.id}  run r-talk  seq {event.seq}" in verbose
    assert "usage: 1200 in, 34 out; cost unknown" in verbose
    assert "usage:" not in calm


def test_context_shows_the_events_around_each(tmp_path: Path) -> None:
    events = chain()
    store(tmp_path, events)
    at = next(n for n, event in enumerate(events) if event.body.type == "callDelegate")
    found = shown(tmp_path, "--type", "callDelegate", "--context", "2")
    assert [event["id"] for event in found["events"]] == [
        event.id for event in events[at - 2 : at + 3]
    ]
    assert (found["totalEventsBeforeLimit"], found["matchedAfterPagination"]) == (1, 1)


def test_messages_stand_with_the_events_that_have_them(tmp_path: Path) -> None:
    store(tmp_path, talkative())
    text = log(tmp_path, "--messages")
    assert text.count("You are an Expert.") == 1
    assert text.count("calls exec t1: ") == 1
    assert "Messages: 4, the first 2 shown above" in text
    found = shown(tmp_path, "--messages", "--type", "continueToNextStep")
    (event,) = found["events"]
    assert len(event["checkpoint"]["messages"]) == 4
    assert (
        "messages" not in shown(tmp_path, "--type", "continueToNextStep")["events"][0]["checkpoint"]
    )


def test_a_late_page_of_text_shows_messages_from_the_beginning(tmp_path: Path) -> None:
    store(tmp_path, talkative())
    text = log(tmp_path, "--messages", "--type", "completeRun")
    assert "Messages: 5\n" in text
    assert "You are an Expert." in text


@pytest.mark.parametrize("history", [chain, parallel, forks])
def test_a_checkpoint_is_headed_and_what_led_to_it_follows(tmp_path: Path, history: Any) -> None:
    events: list[Event] = history()
    store(tmp_path, events)
    for event in events:
        made = made_checkpoint(event)
        if made is None or event.body.type == "suspendRun":
            continue
        text = log(tmp_path, "--checkpoint", made, "--take", "0")
        assert f"Checkpoint: {made}\n" in text
        assert f"checkpoint {made}\n" in text
        found = shown(tmp_path, "--checkpoint", made, "--take", "0")
        assert found["checkpoint"]["id"] == made
        assert {each["runId"] for each in found["events"]} == {event.run_id}
        assert found["events"][-1]["id"] == event.id


def test_a_forks_checkpoint_holds_the_messages_it_was_forked_with(tmp_path: Path) -> None:
    store(tmp_path, forks())
    checkpoint = shown(tmp_path, "--checkpoint", "c-end")["checkpoint"]
    roles = [message["type"].removesuffix("Message") for message in checkpoint["messages"]]
    assert roles == ["instruction", "user", "expert", "tool", "expert", "tool", "user", "expert"]


def test_one_run_of_a_fork_is_shown_alone(tmp_path: Path) -> None:
    store(tmp_path, forks())
    found = shown(tmp_path, "--run", "r-third")
    assert {event["runId"] for event in found["events"]} == {"r-third"}
    text = log(tmp_path, "--run", "r-second", "--verbose")
    assert "✓ askUser: a" in text


def test_filters_add_up(tmp_path: Path) -> None:
    store(tmp_path, parallel())
    both = shown(tmp_path, "--tools", "--step", ">2", "--filter", '.expertKey == "worker-a"')
    assert both["events"]
    assert all(event["stepNumber"] > 2 for event in both["events"])
    assert all(event["expertKey"] == "worker-a" for event in both["events"])
    assert log(tmp_path, "--type", "retry", "--tools") == "No data found\n"


def test_pretty_json_is_the_same_json(tmp_path: Path) -> None:
    store(tmp_path, chain())
    for options in ((), ("--summary",), ("--checkpoint", "done-r-b-4"), ("--take", "1")):
        pretty = log(tmp_path, "--pretty", *options)
        assert json.loads(pretty) == shown(tmp_path, *options)
        assert pretty == json.dumps(json.loads(pretty), indent=2) + "\n"


def test_a_killed_job_is_lost_and_not_running(tmp_path: Path) -> None:
    store(tmp_path, chain(), status="running", finished=False)
    assert "  Status: lost" in log(tmp_path)
    assert shown(tmp_path)["job"]["state"] == "lost"


def test_a_damaged_record_on_the_page_is_named_and_one_elsewhere_is_not_looked_at(
    tmp_path: Path,
) -> None:
    store(tmp_path, talkative())
    (path,) = tmp_path.glob("perstack/jobs/job1/runs/r-talk/events.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"Hm."', b'"Ha."', 1))
    with pytest.raises(CorruptRecordError, match=r"events\.jsonl, line \d+ is damaged"):
        log(tmp_path)
    assert "[Step 1] startRun" in log(tmp_path, "--take", "4")

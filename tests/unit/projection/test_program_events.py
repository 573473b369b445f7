"""What is seen of another agent's program that executes a run, in every view of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.domain.events import Event, ToolRoute
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ToolCallPart
from perstack.domain.program_events import BeginSession, StartProgram
from perstack.domain.runtimes import PROGRAMS, RuntimeSettings
from perstack.domain.settings import ProviderSettings, Settings
from perstack.projection.entries import call_entry
from perstack.projection.inert import inert
from perstack.projection.log_text import EventLines
from perstack.projection.markdown import MarkdownRuns
from perstack.projection.perstack_json import PerstackJson
from perstack.projection.phrases import call_phrase
from perstack.projection.plain import PlainLines
from perstack.projection.program_phrases import model_of_settings
from perstack.projection.run_fold import RunFold
from perstack.projection.spans import Spans
from perstack.projection.views import RunView
from tests.unit.projection.builder import DROPPED, Run, call, finished, program_run

NOTICE = f"claude-code cannot honour: {', '.join(DROPPED)}"


def plain(events: Sequence[Event], *, width: int = 100) -> list[str]:
    lines = PlainLines(width=width)
    return [line for event in events for line in lines.event(event)]


def logged(events: Sequence[Event]) -> list[str]:
    lines = EventLines()
    return [line.strip() for event in events for line in lines.event(event)]


def viewed(events: Sequence[Event]) -> RunView:
    run = events[0]
    fold = RunFold(run.run_id, run.job_id, run.expert_key)
    for event in events:
        fold.apply(event, None)
    return fold.build("run", 0)


def test_plain_lines_say_what_a_program_cannot_honour_and_which_model_it_asks() -> None:
    told = plain(program_run().events, width=40)
    assert told[:4] == [
        "[coder] › Write it",
        "[coder] runs on claude-code",
        f"[coder] {NOTICE}",  # whole, whatever the width
        "[coder] claude-code asks claude-opus-5-5",
    ]
    assert "step 1 · Write /w/a.py … ok" in told[-1]


def test_nothing_is_said_of_a_model_or_of_what_is_dropped_where_there_is_nothing_to_say() -> None:
    told = plain(program_run(model=None, dropped=()).events)
    assert "[coder] runs on claude-code" in told
    assert not any("cannot honour" in line or " asks" in line for line in told)


def test_a_session_that_goes_on_is_told_without_repeating_what_is_dropped() -> None:
    run = program_run()
    run.add(StartProgram(runtime="claude-code", continued="s-1", dropped=DROPPED))
    assert plain(run.events)[-1] == "[coder] goes on in its session of claude-code"


def test_the_log_has_the_program_its_model_and_its_session() -> None:
    told = logged(program_run().events)
    assert NOTICE in told
    assert "claude-code asks claude-opus-5-5" in told
    assert "Session: s-1" in told
    assert any("startProgram" in line for line in told)
    assert any("beginSession" in line for line in told)


def test_json_has_both_events_whole() -> None:
    shown = PerstackJson(full=True)
    found = {event.body.type: shown.event(event) for event in program_run().events}
    assert found["startProgram"]["runtime"] == "claude-code"
    assert found["startProgram"]["dropped"] == list(DROPPED)
    assert found["beginSession"]["sessionId"] == "s-1"
    assert found["beginSession"]["model"] == "claude-opus-5-5"


def test_a_checkpoint_keeps_the_session_that_the_run_goes_on_with() -> None:
    shown = PerstackJson(full=True)
    found = [made for event in program_run().events if (made := _checkpoint(shown, event))]
    metadata = {"runtime": "claude-code", "sessionId": "s-1"}
    assert [one.get("metadata") for one in found][-1] == metadata


def _checkpoint(shown: PerstackJson, event: Event) -> dict[str, JsonValue] | None:
    made = shown.checkpoint(event)
    return dict(made) if made is not None else None


def test_the_transcript_has_a_notice_each_and_the_file_as_a_change() -> None:
    entries = viewed(program_run().events).entries
    # A line each below: titles are cut to the width of the pane, texts are wrapped.
    assert [(entry.title, entry.text) for entry in entries if entry.kind == "note"] == [
        ("runs on claude-code", ""),
        ("claude-code cannot honour", "\n".join(DROPPED)),
        ("claude-code asks claude-opus-5-5", ""),
    ]
    (written,) = (entry for entry in entries if entry.kind == "tool")
    assert written.title == "Write /w/a.py"
    assert written.call is not None
    assert (written.call.path, written.call.after, written.call.args) == ("/w/a.py", "x = 1\n", "")


def test_a_view_shows_the_model_that_the_program_told_and_whose_it_is() -> None:
    run = viewed(program_run().events)
    assert (run.model, run.provider_name) == ("claude-opus-5-5", "claude-code")
    unknown = viewed(program_run(model=None).events)
    assert unknown.model == "claude-code:default"


def test_the_model_of_settings_is_a_programs_own_unless_somebody_named_one() -> None:
    settings = Settings(model="m", provider=ProviderSettings(name="scripted"))
    assert model_of_settings(settings) == ("m", "scripted")
    codex = settings.model_copy(update={"runtime": RuntimeSettings(name="codex")})
    assert model_of_settings(codex) == ("codex:default", "codex")
    runtime = RuntimeSettings(name="codex", model_given=True)
    named = settings.model_copy(update={"runtime": runtime})
    # Nothing tells that it is one of the program's.
    assert model_of_settings(named) == ("codex:default", "codex")
    own = named.model_copy(update={"model": "gpt-m"})
    assert model_of_settings(own) == ("gpt-m", "codex")


def test_a_checkpoint_of_a_program_names_the_files_that_it_wrote() -> None:
    (point,) = viewed(program_run().events).points
    assert (point.files, point.label) == (("/w/a.py",), "Write")


def test_a_run_is_starting_until_its_program_generates() -> None:
    events = program_run().events
    started = next(n for n, event in enumerate(events) if isinstance(event.body, StartProgram))
    assert viewed(events[: started + 1]).doing == "starting claude-code"


def test_markdown_quotes_what_programs_say() -> None:
    pages = MarkdownRuns(lambda text: text.replace("secret", "…"), points=frozenset())
    run = program_run(model="a <b> secret\n# heading")
    text = "\n".join(line for event in run.events for line in pages.event(event))
    assert f"> {NOTICE}" in text
    assert "> claude-code asks a &lt;b> …\n> # heading" in text


def test_spans_name_program_model_and_whose_model_it_is() -> None:
    spans = Spans()
    run = finished(program_run())
    found = [span for event in run.events for span in spans.event(event)]
    found += list(spans.end())
    chat = next(span for span in found if span.name.startswith("chat"))
    assert chat.name == "chat claude-opus-5-5"
    assert chat.attributes["gen_ai.provider.name"] == "anthropic"
    for span in found:
        assert span.attributes["perstack.runtime"] == "claude-code"
    assert any(span.name == "execute_tool Write" for span in found)


@given(text=st.text(max_size=40) | st.just("\x1b]0;owned\x07\x1b[2J\u202e"))
def test_no_terminal_acts_on_what_a_program_says_of_itself(text: str) -> None:
    run = Run("r", "coder")
    run.init(runtime="codex")
    run.start("Go")
    run.add(StartProgram(runtime="codex", dropped=(text,)))
    run.add(BeginSession(runtime="codex", session_id=text, model=text or None))
    shown = [*plain(run.events), *logged(run.events)]
    assert all(line == inert(line, newlines=False) for line in shown)
    assert "\x1b" not in "".join(shown)


# ---------------------------------------------------------------- calls of their tools


@pytest.mark.parametrize(
    ("name", "args", "phrase"),
    [
        ("Read", {"file_path": "/w/a.py", "offset": 3}, "Read /w/a.py"),
        ("Edit", {"old_string": "a", "new_string": "b", "file_path": "x"}, "Edit x"),
        ("Bash", {"command": "npm test", "description": "Run tests"}, "Bash npm test"),
        ("Grep", {"pattern": "TODO", "path": "src"}, "Grep TODO in src"),
        ("Glob", {"pattern": "**/*.py"}, "Glob **/*.py"),
        (
            "TodoWrite",
            {"todos": [{"content": "a", "status": "completed"}, {"content": "b"}]},
            "TodoWrite 1 of 2 done, now b",
        ),
        ("WebFetch", {"url": "https://example.com", "prompt": "Sum up"}, None),
        ("read_file", {"absolute_path": "/w/a"}, "read_file /w/a"),
        ("run_shell_command", {"command": "ls", "description": "d"}, "run_shell_command ls"),
        ("command_execution", {"command": "ls -l"}, "command_execution ls -l"),
        (
            "file_change",
            {"changes": [{"path": "a", "kind": "add"}, {"path": "b", "kind": "update"}]},
            "file_change a, b",
        ),
        ("todo_list", {"items": [{"text": "a", "completed": True}]}, "todo_list 1 of 1 done"),
        ("mcp_tool_call", {"server": "s", "tool": "t", "arguments": {}}, "mcp_tool_call s t"),
        ("web_search", {"query": "cats"}, "web_search cats"),
    ],
)
def test_calls_of_programs_are_said_in_a_phrase(
    name: str, args: dict[str, JsonValue], phrase: str | None
) -> None:
    expected = phrase or f"{name} https://example.com"
    assert call_phrase(call("t", name, **args)) == expected


@pytest.mark.parametrize(
    ("program", "name", "args", "before", "after"),
    [
        ("claude-code", "Edit", {"old_string": "a", "new_string": "b"}, "a", "b"),
        ("claude-code", "Write", {"content": "b"}, None, "b"),
        ("gemini", "replace", {"old_string": "a", "new_string": "b"}, "a", "b"),
        ("gemini", "write_file", {"content": "b"}, None, "b"),
        ("cursor", "write", {"fileText": "b"}, None, "b"),
    ],
)
def test_what_programs_write_is_shown_as_a_change(
    program: str, name: str, args: dict[str, JsonValue], before: str | None, after: str
) -> None:
    part = call("t", name, file_path="p", **args)
    route = ToolRoute(tool_call_id=ToolCallId("t"), skill_name=program, kind="mcp")
    shown = call_entry(part, route, 0).call
    assert shown is not None
    assert (shown.before, shown.after, shown.path, shown.args) == (before, after, "p", "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
KEYS = st.sampled_from(
    ["path", "file_path", "changes", "todos", "items", "pattern", "server", "tool", "content"]
)


@given(args=st.dictionaries(KEYS, JSON, max_size=5), program=st.sampled_from(PROGRAMS))
def test_any_arguments_of_any_program_can_be_shown(
    args: dict[str, JsonValue], program: str
) -> None:
    part = ToolCallPart(tool_call_id=ToolCallId("t"), tool_name="Write", args=args)
    route = ToolRoute(tool_call_id=ToolCallId("t"), skill_name=program, kind="mcp")
    entry = call_entry(part, route, 0)
    assert entry.title.startswith("Write")
    assert "\n" not in entry.title

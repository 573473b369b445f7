"""What is remembered of a folder, on disk and back."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.ids import JobId, RunId
from perstack.errors import UsageError
from perstack_tui.restoring import read_session, recall, write_session
from perstack_tui.state.cockpit import CockpitState
from perstack_tui.state.inbox import ItemKey
from perstack_tui.state.session import (
    MOST_DRAFTS,
    Session,
    apply,
    draft_key,
    session_of,
)

ASKED = ItemKey("ask", "call-1", RunId("run-1"))


def lived_in() -> CockpitState:
    state = CockpitState()
    state.run_id, state.item_key = RunId("run-1"), ASKED
    state.filters["agents"] = "!idle"
    state.sort, state.peek, state.show_times = "cost", False, True
    state.zooms["desk"] = "full"
    state.folded[JobId("job-1")] = True
    state.whole.add(RunId("run-2"))
    state.drafts[ASKED] = "for whom?"
    state.drafts[("follow_up", JobId("job-1"))] = "once more"
    return state


def remembered(state: CockpitState) -> Session:
    return session_of(
        state, pane="agents", tops={"agents": 7}, following=False, theme=("light", "dark")
    )


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "session.json"
    session = remembered(lived_in())
    write_session(session, file, {})
    found, trouble = read_session(file)
    assert trouble is None
    assert found is not None
    assert found == session
    state = CockpitState()
    apply(found, state, selection=True)
    assert remembered(state) == session
    assert state.drafts == {("follow_up", "job-1"): "once more"}


def test_what_was_asked_for_on_opening_is_not_overruled() -> None:
    state = CockpitState()
    apply(remembered(lived_in()), state, selection=False)
    assert state.run_id is None
    assert state.item_key is None
    assert state.sort == "cost"


def test_only_the_owner_reads_it_and_secrets_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "session.json"
    state = lived_in()
    state.drafts[("new_run",)] = "use sk-0123456789abcdef for it"
    state.filters["tree"] = "sk-0123456789abcdef"
    write_session(remembered(state), file, {"SOME_API_KEY": "sk-0123456789abcdef"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "sk-0123456789abcdef" not in file.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["session.json"]


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"[]", b'{"version": 2}', b'{"sort": "colour"}', b'{"run_id": 3}'],
)
def test_damaged_file_is_left_aside_and_said(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "session.json"
    file.write_bytes(data)
    found, trouble = read_session(file)
    assert found is None
    assert trouble is not None
    assert str(file) in trouble
    assert file.read_bytes() == data


def test_no_file_is_no_trouble(tmp_path: Path) -> None:
    assert read_session(tmp_path / "none.json") == (None, None)


def test_it_is_bounded() -> None:
    state = CockpitState()
    for number in range(1000):
        state.drafts[("follow_up", str(number))] = "x" * 30_000
        state.folded[JobId(str(number))] = True
        state.whole.add(RunId(str(number)))
    session = remembered(state)
    assert len(session.drafts) == MOST_DRAFTS
    assert session.drafts[-1][0] == ("follow_up", "999")
    assert len(session.model_dump_json()) < 1_200_000
    assert Session.model_validate_json(session.model_dump_json()) == session


@given(st.tuples(st.text(min_size=1).filter(lambda name: name != "form"), st.text()))
def test_key_of_a_draft_survives(key: tuple[str, ...]) -> None:
    state = CockpitState()
    state.drafts[key] = "kept"
    again = CockpitState()
    apply(remembered(state), again, selection=False)
    assert again.drafts == {key: "kept"}


def test_answers_and_what_is_typed_into_forms_stay_in_memory() -> None:
    """A server's field may be a password, and so may an answer: no pattern knows it."""
    state = CockpitState()
    state.drafts[("form", "gate-1", "password")] = "hunter2-hunter2"
    state.drafts[ItemKey("ask", "q1", RunId("run-1"))] = "hunter2-hunter2"
    state.drafts[("feedback", "gate-1")] = "too broad"
    assert "hunter2" not in remembered(state).model_dump_json()
    assert remembered(state).drafts == ((("feedback", "gate-1"), "too broad"),)


def test_key_of_another_kind_is_not_remembered() -> None:
    assert draft_key(3) is None
    assert draft_key(("say", 3)) is None


def test_theme_comes_from_the_command_then_from_here_then_from_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    settings = tmp_path / "config/perstack/cockpit.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('theme = "light"')
    workspace = tmp_path / "w"
    assert recall(workspace, None, {}).theme == "light"
    chosen = Session(theme="terminal", theme_over="light")
    write_session(chosen, recall(workspace, None, {}).places.session, {})
    assert recall(workspace, None, {}).theme == "terminal"
    assert recall(workspace, "mono", {}).theme == "mono"
    settings.write_text('theme = "high-contrast"')
    assert recall(workspace, None, {}).theme == "high-contrast"
    settings.write_text("theme = 3")
    assert recall(workspace, None, {}).theme == "dark"
    with pytest.raises(UsageError, match="no theme named"):
        recall(workspace, "neon", {})

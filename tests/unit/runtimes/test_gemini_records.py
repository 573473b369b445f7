"""What the records of the Gemini CLI tell, in the words of the program itself."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import TextPart, ToolCallPart, text_of
from perstack.domain.usage import ModelFacts, ModelPrice, Usage
from perstack.errors import ProgramError, SessionLostError
from perstack.ports.model import Spoken
from perstack.ports.programs import Began, Finished, Report, Returned, Turn
from perstack.runtimes.gemini_records import MOST_SAID, GeminiReader, used
from perstack.runtimes.running import Record

INIT = {"type": "init", "session_id": "5e55-10", "model": "auto"}
OWN = {
    "plain-model": ModelFacts(price=ModelPrice(input=1.0, output=2.0, cached_input=0.5)),
    "other-model": ModelFacts(price=ModelPrice(input=10.0, output=0.0)),
}


def said(text: str) -> Record:
    return {"type": "message", "role": "assistant", "content": text, "delta": True}


def tool_use(id_: str, name: str = "read_file", **parameters: JsonValue) -> Record:
    return {"type": "tool_use", "tool_id": id_, "tool_name": name, "parameters": parameters}


def called(id_: str, name: str = "read_file", **args: JsonValue) -> ToolCallPart:
    return ToolCallPart(tool_call_id=ToolCallId(id_), tool_name=name, args=args)


def stats_of(**models: JsonValue) -> dict[str, JsonValue]:
    return {"input_tokens": 0, "output_tokens": 0, "models": models}


def success(stats: dict[str, JsonValue] | None = None) -> Record:
    return {"type": "result", "status": "success", "stats": stats or {}}


def failure(message: str, kind: str = "unknown") -> Record:
    error: JsonValue = {"type": kind, "message": message}
    return {"type": "result", "status": "error", "error": error, "stats": {}}


def read(*records: Record, reader: GeminiReader | None = None) -> list[Report]:
    reader = reader or GeminiReader(OWN)
    return [report for record in records for report in reader.read(record)]


def error_of(*records: Record) -> ProgramError:
    with pytest.raises(ProgramError) as caught:
        read(*records)
    return caught.value


def ended(message: str) -> ProgramError:
    with pytest.raises(ProgramError) as caught:
        GeminiReader(OWN).ended(ProgramError(message))
    return caught.value


def test_a_job_with_a_tool_is_heard_from_its_session_to_its_result() -> None:
    heard = read(
        INIT,
        {"type": "message", "role": "user", "content": "do it"},
        said("I will "),
        said("look."),
        tool_use("t1", file_path="a.txt"),
        {"type": "tool_result", "tool_id": "t1", "status": "success", "output": "three lines"},
        said("Done."),
        success(),
    )

    call = called("t1", file_path="a.txt")
    assert [report for report in heard if not isinstance(report, Returned)] == [
        Began("5e55-10", "auto"),
        Spoken("text", "I will "),
        Spoken("text", "look."),
        Turn((TextPart(text="I will look."), call)),
        Spoken("text", "Done."),
        Turn((TextPart(text="Done."),)),
        Finished(""),
    ]
    assert returned(heard) == [("t1", "three lines", False)]


def returned(heard: Iterable[Report]) -> list[tuple[str, str, bool]]:
    return [
        (one.tool_call_id, text_of(one.outcome.parts), one.outcome.is_error)
        for one in heard
        if isinstance(one, Returned)
    ]


def test_what_a_tool_gave_is_its_output_its_error_or_how_it_went() -> None:
    heard = read(
        {"type": "tool_result", "tool_id": "a", "status": "success"},
        {"type": "tool_result", "tool_id": "b", "status": "error", "error": {"message": "denied"}},
        {"type": "tool_result", "tool_id": "c", "status": "error"},
        {"type": "tool_result", "status": "success", "output": "of nobody"},
    )

    assert returned(heard) == [
        ("a", "succeeded", False),
        ("b", "denied", True),
        ("c", "failed", True),
    ]


def test_the_tokens_of_the_whole_talk_count_thoughts_as_output() -> None:
    stats: dict[str, JsonValue] = {
        "total_tokens": 487,
        "input_tokens": 400,
        "output_tokens": 80,
        "cached": 100,
    }

    assert used(stats) == Usage(
        input_tokens=400,
        output_tokens=87,
        reasoning_tokens=7,
        total_tokens=487,
        cached_input_tokens=100,
    )


def test_the_cost_is_the_sum_over_the_models_that_were_asked() -> None:
    plain: JsonValue = {"total_tokens": 3_000_000, "input_tokens": 2_000_000, "cached": 1_000_000}
    other: JsonValue = {"total_tokens": 100_000, "input_tokens": 100_000}
    stats = stats_of(**{"plain-model": plain, "other-model": other})

    (finished,) = read(success(stats))

    assert isinstance(finished, Finished)
    # One million each of plain input, cached input and output, and the other's input.
    assert finished.cost_usd == pytest.approx(1.0 + 0.5 + 2.0 + 1.0)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param("nobody-knows-it", id="a model without a price"),
        # Its price depends on how long each request was, which is not told.
        pytest.param("gemini-2.5-pro", id="a model with a price for long requests"),
    ],
)
def test_a_cost_that_does_not_follow_from_the_totals_is_unknown(model: str) -> None:
    figures: JsonValue = {"total_tokens": 300_000, "input_tokens": 300_000}

    (finished,) = read(success(stats_of(**{model: figures})))

    assert isinstance(finished, Finished)
    assert finished.cost_usd is None


def test_a_sum_below_the_bound_of_long_requests_has_the_usual_price() -> None:
    figures: JsonValue = {"total_tokens": 100_000, "input_tokens": 100_000}

    (finished,) = read(success(stats_of(**{"gemini-2.5-pro": figures})))

    assert isinstance(finished, Finished)
    assert finished.cost_usd == pytest.approx(0.125)


def test_a_refused_key_is_told_in_googles_words_with_what_to_check() -> None:
    body = {"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}

    error = error_of(INIT, failure(f"[API Error: {json.dumps(body)}]"))

    assert error.message == "gemini failed: API key not valid. (400)"
    assert error.hint == "check GEMINI_API_KEY"


def test_another_failure_of_googles_does_not_blame_the_key() -> None:
    error = error_of(failure("[API Error: The model is overloaded. (Status: UNAVAILABLE)]"))

    assert error.message == "gemini failed: The model is overloaded. (Status: UNAVAILABLE)"
    assert error.hint is None


def test_an_answer_that_holds_nothing_fails_with_the_trouble_told_before() -> None:
    trouble: Record = {"type": "error", "severity": "error", "message": "blocked for safety"}

    assert error_of(trouble, success()).message == "gemini failed: blocked for safety"
    status: Record = {"type": "result", "status": "error", "stats": {}}
    assert error_of(said("half"), trouble, status).message == "gemini failed: blocked for safety"


def test_a_warning_beside_an_answer_is_none_of_a_failure() -> None:
    heard = read({"type": "error", "message": "slow"}, said("Done."), success())

    assert heard[-1] == Finished("")


@pytest.mark.parametrize(
    "records",
    [
        [failure("Reached max session turns.", "FatalTurnLimitedError")],
        [said("x"), {"type": "error", "message": "Loop detected, stopping execution"}, success()],
    ],
)
def test_a_limit_of_its_own_is_reported_as_one(records: list[Record]) -> None:
    *_, last = read(*records)

    assert isinstance(last, Finished)
    assert last.limit
    assert last.text


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (41, "gemini could not sign in: why"),
        (42, "gemini refused what it was given: why"),
        (44, "gemini's sandbox failed: why"),
        (52, "gemini's own configuration is wrong: why"),
        (53, "gemini reached its own limit of turns: why"),
        (54, "a tool of gemini's failed for good: why"),
        (55, "gemini does not trust the folder: why"),
        (130, "gemini was cancelled: why"),
        (7, "gemini CLI failed with exit code 7: why"),
    ],
)
def test_each_documented_exit_code_is_told_in_words(code: int, words: str) -> None:
    assert ended(f"gemini CLI failed with exit code {code}: why").message == words


def test_a_folder_that_it_does_not_trust_is_told_with_what_to_do() -> None:
    hint = ended("gemini CLI failed with exit code 55: not running in a trusted directory").hint

    assert hint is not None
    assert "run gemini once in this folder and trust it" in hint


def test_a_session_that_it_does_not_know_is_lost() -> None:
    error = ended(
        "gemini CLI failed with exit code 42: Warning: 256-color support not detected.\n"
        'Error resuming session: Invalid session identifier "5e55-10".'
    )

    assert isinstance(error, SessionLostError)
    assert "256-color" not in error.message


def test_remarks_and_traces_are_left_out_of_what_it_said_last() -> None:
    error = ended(
        "gemini CLI failed with exit code 1: Ripgrep is not available. Falling back.\n"
        "YOLO mode is enabled. All tool calls will be automatically approved.\n"
        "Error when talking to the API\n"
        "    at throwErrorIfNotOK (file.js:1:2)\n"
        "}"
    )

    expected = "gemini CLI failed with exit code 1: Error when talking to the API"
    assert error.message == expected


def test_another_failure_of_the_process_stays_as_it_is() -> None:
    assert (
        ended("gemini was ended by signal SIGKILL").message == "gemini was ended by signal SIGKILL"
    )


def test_a_program_that_ends_well_without_a_result_has_failed() -> None:
    with pytest.raises(ProgramError, match="gemini ended without a result"):
        GeminiReader(OWN).ended(None)


def test_once_it_has_finished_its_exit_code_does_not_matter() -> None:
    reader = GeminiReader(OWN)
    read(said("Done."), success(), reader=reader)

    assert reader.ended(ProgramError("gemini CLI failed with exit code 1: late")) == ()


def test_a_text_without_end_is_given_up() -> None:
    reader = GeminiReader(OWN)
    piece = said("x" * (MOST_SAID // 4))

    read(piece, piece, piece, piece, reader=reader)
    with pytest.raises(ProgramError, match="said more than"):
        read(said("x"), reader=reader)


JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
KEYS = st.sampled_from(
    (
        *("session_id", "model", "role", "content", "tool_id", "tool_name", "parameters"),
        *("status", "output", "error", "message", "stats", "models", "total_tokens"),
    )
)
TYPES = st.sampled_from(("init", "message", "tool_use", "tool_result", "error", "result", "?"))


@st.composite
def wild_records(draw: st.DrawFn) -> Record:
    fields = draw(st.dictionaries(KEYS, JSON, max_size=8))
    return {**fields, "type": draw(TYPES)}


@given(st.lists(wild_records(), max_size=8))
def test_whatever_it_says_is_understood_or_refused_as_its_failure(records: list[Record]) -> None:
    reader = GeminiReader({})
    try:
        heard = [report for record in records for report in reader.read(record)]
        heard += reader.ended(None)
    except ProgramError:
        return
    assert isinstance(heard[-1], Finished) or any(isinstance(one, Finished) for one in heard)
    assert all(one.usage.total_tokens >= 0 for one in heard if isinstance(one, Finished))


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=10))
def test_no_piece_of_a_text_is_lost_or_doubled(pieces: list[str]) -> None:
    heard = read(*(said(piece) for piece in pieces), success())

    turns = [part for one in heard if isinstance(one, Turn) for part in one.parts]
    assert turns == [TextPart(text="".join(pieces))]
    assert [one.text for one in heard if isinstance(one, Spoken)] == pieces

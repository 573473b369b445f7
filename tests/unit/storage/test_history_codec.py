"""Records: what goes in comes out, and nothing else passes the checksum."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.domain.events import CallTools, CompleteRun, Event, StartGeneration
from perstack.domain.ids import CheckpointId, ExpertKey, JobId, MessageId, RunId, ToolCallId
from perstack.domain.messages import ExpertMessage, TextPart, ToolCallPart
from perstack.domain.server_events import SkillStderr
from perstack.domain.usage import Usage
from perstack.errors import CorruptRecordError, StorageError
from perstack.ports.history import RunIdentity
from perstack.storage.history.codec import decode, encode, seal, unseal
from tests.fakes.history import bodies
from tests.fakes.models import events, json_values

IDENTITY = RunIdentity(JobId("job1"), RunId("run1"), ExpertKey("writer"))


@given(events())
@settings(max_examples=400, deadline=None)
def test_every_event_comes_back_as_it_was(event: Event) -> None:
    stored, line = encode(event)

    assert stored == event
    assert decode(line, IDENTITY) == event
    assert line.count(b"\n") == 1
    assert json.loads(line)["type"] == event.body.type


@given(st.text(st.characters(categories=("Cs", "L", "Cc"))))
@settings(deadline=None)
def test_text_with_lone_surrogates_is_stored_and_the_event_says_how(text: str) -> None:
    stored, line = encode(_event(SkillStderr(skill_name="s", message=text)))

    assert decode(line, IDENTITY) == stored
    assert isinstance(stored.body, SkillStderr)
    assert len(stored.body.message) <= len(text)
    stored.body.message.encode()


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    call = _call({"\udc80key": ["a\ud800b", "\ud83d\ude00"]})

    stored, line = encode(_event(call))

    assert _args(stored) == {"\ufffdkey": ["a\ufffdb", "😀"]}
    assert decode(line, IDENTITY) == stored


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_has_not_becomes_null(number: float) -> None:
    stored, line = encode(_event(_call({"n": number})))

    assert _args(stored) == {"n": None}
    assert decode(line, IDENTITY) == stored


@pytest.mark.parametrize("value", [None, "\x00\u2028\u2029\x85", 10**400, -0.0, {"a": [None]}, ""])
def test_odd_values_come_back_unchanged(value: JsonValue) -> None:
    _, line = encode(_event(_call({"v": value})))

    assert _args(decode(line, IDENTITY)) == {"v": value}


def test_arguments_nested_too_deep_to_be_read_back_are_refused() -> None:
    value: JsonValue = 1
    for _ in range(220):
        value = [value]

    with pytest.raises(StorageError, match="a callTools event holds JSON"):
        encode(_event(_call({"v": value})))


def test_a_number_with_too_many_digits_to_be_read_back_is_refused() -> None:
    with pytest.raises(StorageError, match="could not be read back"):
        encode(_event(_call({"v": 10**5000})))


def test_an_event_of_a_negative_step_is_refused() -> None:
    with pytest.raises(StorageError, match="step -1"):
        encode(_event(StartGeneration(), step_number=-1))


@given(json_values())
@settings(deadline=None)
def test_a_sealed_object_is_unsealed_unchanged(value: JsonValue) -> None:
    document = json.dumps({"value": value}).encode()

    assert unseal(seal(document)) == document


def test_any_flipped_bit_breaks_the_seal() -> None:
    _, line = encode(_event(_call({"path": "notes.md"})))
    sealed = line.removesuffix(b"\n")
    for position in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[position // 8] ^= 1 << position % 8
        assert unseal(bytes(changed)) is None


def test_any_cut_line_breaks_the_seal() -> None:
    _, line = encode(_event(_call({"path": "notes.md"})))

    assert [unseal(line[:length]) for length in range(len(line) - 1)] == [None] * (len(line) - 1)


@pytest.mark.parametrize(
    "document",
    [
        b'{"seq":-1,"at":1,"step":1,"type":"startGeneration"}',
        b'{"seq":0,"at":1,"step":-1,"type":"startGeneration"}',
        b'{"seq":0,"at":1,"step":1,"type":"nonsense"}',
        b'{"seq":0,"at":1,"step":1,"type":"startGeneration","more":1}',
        b'{"type":"startGeneration","seq":0,"at":1,"step":1}',
        b'{"seq":0,"at":1,"step":1,' + b"[" * 10_000 + b"}",
        b"{}",
    ],
)
def test_a_forged_record_with_a_good_checksum_is_refused(document: bytes) -> None:
    with pytest.raises(CorruptRecordError):
        decode(seal(document), IDENTITY)


def test_random_bytes_are_refused() -> None:
    source = random.Random(7)
    for _ in range(500):
        with pytest.raises(CorruptRecordError):
            decode(source.randbytes(source.randrange(200)), IDENTITY)


def test_what_is_refused_does_not_show_the_value() -> None:
    document = b'{"seq":0,"at":1,"step":1,"type":"skillStderr","message":["hunter2"]}'

    with pytest.raises(CorruptRecordError) as raised:
        decode(seal(document), IDENTITY)

    assert "hunter2" not in raised.value.message


def test_nulls_and_zero_tokens_take_no_space() -> None:
    said = ExpertMessage(id=MessageId("m"), contents=(TextPart(text="done"),))
    body = CompleteRun(checkpoint_id=CheckpointId("c"), new_message=said, usage=Usage())

    _, line = encode(_event(body))

    assert b"null" not in line
    assert b'"usage":{}' in line


def test_a_record_is_at_most_80_bytes_longer_than_its_body() -> None:
    for body in bodies(10):
        event = _event(body, step_number=99)
        _, line = encode(event)
        assert len(line) <= len(body.model_dump_json(exclude_none=True)) + 80


def _event(body: object, *, step_number: int = 1) -> Event:
    return Event.model_validate(
        {
            "seq": 12,
            "timestamp": 1_790_000_000_000,
            "jobId": "job1",
            "runId": "run1",
            "expertKey": "writer",
            "stepNumber": step_number,
            "body": body,
        }
    )


def _call(args: dict[str, JsonValue]) -> CallTools:
    part = ToolCallPart.model_construct(
        type="toolCallPart", tool_call_id=ToolCallId("t"), tool_name="x", args=args
    )
    message = ExpertMessage(id=MessageId("m"), contents=(part,))
    return CallTools(new_message=message, routes=(), usage=Usage())


def _args(event: Event) -> dict[str, JsonValue]:
    assert isinstance(event.body, CallTools)
    return event.body.new_message.tool_calls[0].args

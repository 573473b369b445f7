"""A record is one line: an event as compact JSON that ends in a checksum.

    {"seq":4,"at":1790000000000,"step":2,"type":"toolReturned",...,"crc":"0a1b2c3d"}

Job, run and Expert are the same for a whole file and are left out; nulls and zero token counts
are, too. The checksum is the CRC-32 of the bytes before `,"crc"`.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Final
from zlib import crc32

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from perstack.domain.events import Body, CallTools, CompleteRun, Event, Retry
from perstack.errors import CorruptRecordError, StorageError
from perstack.ports.history import RunIdentity

_SEAL: Final = re.compile(rb',"crc":"([0-9a-f]{8})"\}')
_SEAL_BYTES: Final = len(b',"crc":"00000000"}')
_ENVELOPE: Final = re.compile(rb'\{"seq":(\d{1,18}),"at":(-?\d{1,18}),"step":(\d{1,18}),')

# These carry JSON that a model made up, which may hold what cannot be read back.
_MODEL_MADE: Final = (CallTools, CompleteRun, Retry)


@cache
def _bodies() -> TypeAdapter[Body]:
    return TypeAdapter(Body)


def seal(document: bytes) -> bytes:
    """Return a JSON object (not an empty one) with its checksum as the last member."""
    payload = document[:-1]
    return b'%b,"crc":"%08x"}' % (payload, crc32(payload))


def unseal(sealed: bytes) -> bytes | None:
    """Return the JSON object that `seal` was given, None if the checksum does not fit."""
    payload = sealed[:-_SEAL_BYTES]
    found = _SEAL.fullmatch(sealed, len(payload))
    if found is None or int(found[1], 16) != crc32(payload):
        return None
    return payload + b"}"


def encode(event: Event) -> tuple[Event, bytes]:
    """Return the event as it will be read back, and its line.

    The two differ where JSON in UTF-8 has no place for something: half a surrogate pair becomes
    U+FFFD, NaN and infinity become null.

    Raises:
        StorageError: it could not be read back: its step is negative, or it is nested in more
            than about 190 levels or has a number of more than 4,300 digits.
    """
    if event.step_number < 0:
        raise StorageError(f"an event of step {event.step_number} cannot be stored")
    body, document = _encode_body(event.body)
    stored = event if body is event.body else event.model_copy(update={"body": body})
    envelope = b'{"seq":%d,"at":%d,"step":%d,' % (
        event.seq,
        event.timestamp,
        event.step_number,
    )
    return stored, seal(envelope + document[1:]) + b"\n"


def decode(line: bytes, identity: RunIdentity) -> Event:
    """Return the event of one line, with or without its newline.

    Raises:
        CorruptRecordError: the checksum does not fit, or what it covers is no event of ours.
    """
    document = unseal(line.removesuffix(b"\n"))
    if document is None:
        raise CorruptRecordError("the checksum does not fit")
    return parse(document, identity)


def parse(document: bytes, identity: RunIdentity) -> Event:
    """Return the event of an unsealed record.

    Raises:
        CorruptRecordError: it is no event of ours.
    """
    envelope = _ENVELOPE.match(document)
    if envelope is None:
        raise CorruptRecordError("it does not begin with seq, at and step")
    try:
        body = _bodies().validate_json(b"{" + document[envelope.end() :])
    except ValidationError as error:
        raise CorruptRecordError(f"it is no event: {first_problem(error)}") from error
    return Event.model_construct(
        seq=int(envelope[1]),
        timestamp=int(envelope[2]),
        job_id=identity.job_id,
        run_id=identity.run_id,
        expert_key=identity.expert_key,
        step_number=int(envelope[3]),
        body=body,
    )


def first_problem(error: ValidationError) -> str:
    """Return the first finding in a few words, without the value (it may be secret)."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    said = problem["msg"]
    if problem["type"] == "union_tag_invalid":
        # Its own words list every type there is.
        said = "its type is none of those that this version knows"
    return f"{place}: {said}" if place else said


def readable(value: JsonValue | tuple[JsonValue, ...]) -> JsonValue:
    """Return `value` without what JSON in UTF-8 has no place for."""
    match value:
        case str():
            return whole_text(value)
        case float():
            return value if math.isfinite(value) else None
        case list() | tuple():
            return [readable(item) for item in value]
        case dict():
            return {whole_text(key): readable(item) for key, item in value.items()}
        case _:
            return value


def whole_text(text: str) -> str:
    """Return `text` with halves of surrogate pairs joined, or replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _encode_body(body: Body) -> tuple[Body, bytes]:
    document = _encode_as_is(body)
    return (body, document) if document is not None else _encode_cleaned(body)


def _encode_as_is(body: Body) -> bytes | None:
    """Return the body's JSON, None if reading it back would give another body."""
    try:
        document = _dump(body)
        if not isinstance(body, _MODEL_MADE) or _bodies().validate_json(document) == body:
            return document
    except (PydanticSerializationError, ValidationError):
        return None
    return None


def _encode_cleaned(body: Body) -> tuple[Body, bytes]:
    try:
        loose: JsonValue = _bodies().dump_python(body)
        cleaned = _bodies().validate_python(readable(loose))
    except (ValueError, RecursionError) as error:
        raise _unstorable(body) from error
    document = _encode_as_is(cleaned)
    if document is None:
        raise _unstorable(body)
    return cleaned, document


def _unstorable(body: Body) -> StorageError:
    return StorageError(
        f"a {body.type} event holds JSON that could not be read back",
        hint="it is nested too deep, or a number has too many digits",
    )


def _dump(body: Body) -> bytes:
    if not isinstance(body, _MODEL_MADE):
        return _bodies().dump_json(body, exclude_none=True)
    document = _bodies().dump_json(body, exclude_none=True, exclude={"usage"})
    usage = body.usage.model_dump_json(exclude_defaults=True).encode()
    return b'%b,"usage":%b}' % (document[:-1], usage)

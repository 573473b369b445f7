"""Everything a model vendor can do wrong, through the real SDKs and real sockets."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Sequence

import anyio
import pytest

from perstack.domain.messages import TextPart, ToolCallPart
from perstack.domain.usage import Usage
from perstack.errors import ProviderError
from perstack.ports.model import ChatModel, Generation
from tests.fakes.conversation import ask, request
from tests.fakes.model_server import model_server
from tests.fakes.model_wire import HTML_502, Call, Fault, FaultKind, Refusal, Reply
from tests.fakes.vendors import KEY, Vendor, connected

pytestmark = pytest.mark.anyio

ALL: Sequence[Vendor] = ("anthropic", "openai", "responses")
CALLING = Reply(["I will"], calls=[Call("rm", {"path": "precious"})])

BROKEN: Sequence[FaultKind] = (
    "refuse",
    "reset_mid",
    "close_mid",
    "bad_chunk",
    "short_body",
    "sse_error",
    "bad_json",
    "no_terminator",
)


async def failing(model: ChatModel) -> ProviderError:
    """Ask; return the error. No answer, and so no tool call, may have come before it."""

    async def listen() -> None:
        async for piece in model.stream(request()):
            assert not isinstance(piece, Generation)

    with anyio.fail_after(20), pytest.raises(ProviderError) as caught:
        await listen()
    return caught.value


@pytest.mark.parametrize(("vendor", "kind"), [*itertools.product(ALL, BROKEN)])
async def test_a_broken_answer_is_a_retryable_error_and_never_a_tool_call(
    vendor: Vendor, kind: FaultKind
) -> None:
    reply = Reply(["I will"], calls=CALLING.calls, fault=Fault(kind, after=5))
    replies = [reply, Reply(["well again"])]
    async with model_server(*replies) as server, connected(vendor, server.url) as model:
        error = await failing(model)
        assert error.retryable
        assert error.message.isprintable()
        _, generation = await ask(model, request())
        assert generation.parts == (TextPart(text="well again"),)


@pytest.mark.parametrize("vendor", ALL)
async def test_a_stream_cut_after_any_event_is_never_an_answer(vendor: Vendor) -> None:
    dropped = range({"anthropic": 2, "openai": 3, "responses": 1}[vendor], 8)
    replies = [
        Reply(["I will"], calls=CALLING.calls, fault=Fault("no_terminator", after=last))
        for last in dropped
    ]
    async with model_server(*replies) as server, connected(vendor, server.url) as model:
        for _ in replies:
            assert (await failing(model)).retryable


@pytest.mark.parametrize(
    ("vendor", "kind", "after"), [*itertools.product(ALL, ("hang", "stall_mid"), (1, 2))]
)
async def test_silence_ends_at_the_timeout(vendor: Vendor, kind: FaultKind, after: int) -> None:
    reply = Reply(["text"], fault=Fault(kind, after=after))
    async with (
        model_server(reply) as server,
        connected(vendor, server.url, timeout_s=0.2) as model,
    ):
        error = await failing(model)
    assert error.retryable
    assert "in time" in error.message


@pytest.mark.parametrize("vendor", ALL)
async def test_nobody_listening_is_retryable(vendor: Vendor) -> None:
    async with model_server() as server:
        url = server.url
    async with connected(vendor, url) as model:
        error = await failing(model)
    assert error.retryable
    assert "connection" in error.message


@pytest.mark.parametrize(
    ("vendor", "status"), [*itertools.product(ALL, (408, 409, 429, 500, 503, 529))]
)
async def test_a_passing_status_is_retryable_after_exactly_one_request(
    vendor: Vendor, status: int
) -> None:
    refusal = Refusal(status, kind="api_error", headers={"retry-after": "7"})
    async with model_server(refusal) as server, connected(vendor, server.url) as model:
        error = await failing(model)
        assert (error.retryable, error.retry_after_s, error.status) == (True, 7.0, status)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("vendor", "status"), [*itertools.product(ALL, (400, 401, 403, 404, 413, 422))]
)
async def test_a_lasting_status_is_final_after_one_request_and_hides_the_key(
    vendor: Vendor, status: int
) -> None:
    refusal = Refusal(status, f"no good: {KEY}", kind="some_error")
    async with model_server(refusal) as server, connected(vendor, server.url) as model:
        error = await failing(model)
        assert (error.retryable, error.status) == (False, status)
        assert "no good" in error.message
        assert KEY not in f"{error.message} {error.hint}"
        assert len(server.requests) == 1


@pytest.mark.parametrize("vendor", ALL)
async def test_a_proxys_html_is_retryable(vendor: Vendor) -> None:
    async with model_server(HTML_502) as server, connected(vendor, server.url) as model:
        error = await failing(model)
    assert (error.retryable, error.status) == (True, 502)


@pytest.mark.parametrize("vendor", ALL)
async def test_a_redirect_is_not_followed(vendor: Vendor) -> None:
    async with model_server(Reply(["caught the key"])) as thief:
        moved = Refusal(307, headers={"location": f"{thief.url}/v1/messages"})
        async with model_server(moved) as server, connected(vendor, server.url) as model:
            error = await failing(model)
        assert thief.requests == []
    assert not error.retryable
    assert "redirect" in error.message


@pytest.mark.parametrize(
    ("vendor", "kind"), [*itertools.product(ALL, ("unknown_events", "crlf", "fragments"))]
)
async def test_an_odd_but_whole_stream_gives_the_same_answer(
    vendor: Vendor, kind: FaultKind
) -> None:
    odd = Reply(["I will"], calls=CALLING.calls, fault=Fault(kind))
    async with model_server(CALLING, odd) as server, connected(vendor, server.url) as model:
        _, plain = await ask(model, request())
        _, same = await ask(model, request())
    assert same == plain


@pytest.mark.parametrize("vendor", ALL)
async def test_bytes_that_are_not_utf8_are_replaced(vendor: Vendor) -> None:
    reply = Reply(["is BAD text"], fault=Fault("invalid_utf8"))
    async with model_server(reply) as server, connected(vendor, server.url) as model:
        _, generation = await ask(model, request())
    assert generation.parts == (TextPart(text="is \ufffd\ufffd text"),)


@pytest.mark.parametrize("vendor", ALL)
async def test_lone_surrogates_are_replaced_and_can_be_sent_back(vendor: Vendor) -> None:
    reply = Reply(["a\ud800b"], calls=[Call("x", {"k": "\udfff"})])
    async with model_server(reply) as server, connected(vendor, server.url) as model:
        shown, generation = await ask(model, request())
    assert shown[0].text == "a\ufffdb"
    text, call = generation.parts
    assert text == TextPart(text="a\ufffdb")
    assert isinstance(call, ToolCallPart)
    assert call.args == {"k": "\ufffd"}


@pytest.mark.parametrize(
    ("vendor", "raw"), [*itertools.product(ALL, ('{"path": "prec', "[1, 2]", '"text"', "7"))]
)
async def test_arguments_that_are_no_object_are_marked_and_kept_apart(
    vendor: Vendor, raw: str
) -> None:
    reply = Reply(calls=[Call("rm", raw)])
    async with model_server(reply) as server, connected(vendor, server.url) as model:
        _, generation = await ask(model, request())
    (call,) = generation.parts
    assert isinstance(call, ToolCallPart)
    assert (call.args, call.invalid_args) == ({}, raw)


@pytest.mark.parametrize("vendor", ALL)
async def test_two_hundred_calls_with_one_id_get_their_own(vendor: Vendor) -> None:
    reply = Reply(calls=[Call("x", {"n": number}, "same") for number in range(200)])
    async with model_server(reply) as server, connected(vendor, server.url) as model:
        _, generation = await ask(model, request())
    calls = [part for part in generation.parts if isinstance(part, ToolCallPart)]
    assert [call.args["n"] for call in calls] == list(range(200))
    assert len({call.tool_call_id for call in calls}) == 200


@pytest.mark.parametrize("vendor", ALL)
async def test_ten_megabytes_of_arguments_arrive(vendor: Vendor) -> None:
    reply = Reply(calls=[Call("write", {"text": "x" * 10_000_000})])
    async with model_server(reply) as server, connected(vendor, server.url) as model:
        _, generation = await ask(model, request())
    (call,) = generation.parts
    assert isinstance(call, ToolCallPart)
    assert len(str(call.args["text"])) == 10_000_000


@pytest.mark.parametrize("vendor", ALL)
async def test_endless_text_is_cut_off(vendor: Vendor) -> None:
    reply = Reply(["HUGE"], fault=Fault("huge_text", megabytes=25))
    async with model_server(reply) as server, connected(vendor, server.url) as model:
        error = await failing(model)
    assert not error.retryable
    assert "larger" in error.message


@pytest.mark.parametrize("vendor", ALL)
async def test_a_compressed_answer_is_refused(vendor: Vendor) -> None:
    reply = Reply(["x"], fault=Fault("gzip"))
    async with model_server(reply) as server, connected(vendor, server.url) as model:
        error = await failing(model)
        assert server.requests[0].headers["accept-encoding"] == "identity"
    assert not error.retryable
    assert "compressed" in error.message


@pytest.mark.parametrize("vendor", ALL)
async def test_a_packed_bomb_is_never_unpacked(vendor: Vendor) -> None:
    reply = Reply(fault=Fault("gzip_bomb", megabytes=200))
    async with model_server(reply) as server, connected(vendor, server.url) as model:
        tracemalloc.start()
        try:
            error = await failing(model)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert "compressed" in error.message
    assert peak < 100_000_000


@pytest.mark.parametrize(
    ("vendor", "message"),
    [
        ("anthropic", "prompt is too long: 210000 tokens > 200000 maximum"),
        ("openai", "This model's maximum context length is 128000 tokens."),
        ("responses", "Your input exceeds the context window of this model."),
    ],
)
async def test_a_conversation_that_is_too_long_is_said_to_be_and_not_asked_again(
    vendor: Vendor, message: str
) -> None:
    async with (
        model_server(Refusal(400, message, "invalid_request_error")) as server,
        connected(vendor, server.url) as model,
    ):
        error = await failing(model)
        assert len(server.requests) == 1
    assert not error.retryable
    assert "too long" in (error.hint or "")


@pytest.mark.parametrize("vendor", ALL)
@pytest.mark.parametrize("usage", [{}, {"input_tokens": -7, "prompt_tokens": 10**15}, {"x": []}])
async def test_usage_that_is_missing_or_cannot_be_is_unknown(
    vendor: Vendor, usage: dict[str, object]
) -> None:
    reply = Reply(["x"], usage=usage)
    async with model_server(reply) as server, connected(vendor, server.url) as model:
        _, generation = await ask(model, request())
    assert generation.parts == (TextPart(text="x"),)
    assert generation.usage == Usage(partial=True)


@pytest.mark.parametrize(
    ("vendor", "reason", "finish"),
    [
        ("anthropic", "max_tokens", "length"),
        ("anthropic", "refusal", "refusal"),
        ("anthropic", "tool_use", "other"),
        ("anthropic", "nonsense", "other"),
        ("openai", "length", "length"),
        ("openai", "content_filter", "refusal"),
        ("openai", "tool_calls", "other"),
        ("openai", "nonsense", "other"),
        ("responses", "max_output_tokens", "length"),
        ("responses", "content_filter", "refusal"),
        ("responses", "nonsense", "other"),
    ],
)
async def test_every_stop_reason_has_a_defined_outcome(
    vendor: Vendor, reason: str, finish: str
) -> None:
    reply = Reply(["x"], stop_reason=reason)
    async with model_server(reply) as server, connected(vendor, server.url) as model:
        _, generation = await ask(model, request())
    assert generation.finish == finish


@pytest.mark.parametrize("vendor", ALL)
async def test_an_empty_answer_is_an_answer(vendor: Vendor) -> None:
    async with model_server(Reply()) as server, connected(vendor, server.url) as model:
        shown, generation = await ask(model, request())
    assert (shown, generation.parts, generation.finish) == ([], (), "stop")

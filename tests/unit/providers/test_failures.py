"""What a vendor's failures become."""

from __future__ import annotations

import pytest

from perstack.errors import ConfigError
from perstack.providers.failures import Endpoint, check_headers, read_key
from perstack.providers.http_rules import retry_after_s

KEY = "sk-ant-canary-0123456789"
ENDPOINT = Endpoint("Vendor", "model-1", "VENDOR_KEY", (KEY,))


def body(kind: str = "", message: str = "because", code: str | None = None) -> object:
    return {"error": {"type": kind, "code": code, "message": message}}


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_what_passes_is_retryable(status: int) -> None:
    error = ENDPOINT.refused(status, {}, body("api_error"))
    assert error.retryable
    assert error.status == status


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_what_stays_is_not_retryable(status: int) -> None:
    error = ENDPOINT.refused(status, {}, body("some_error"))
    assert not error.retryable
    assert f"HTTP {status}" in error.message
    assert "because" in error.message


@pytest.mark.parametrize(
    ("status", "hinted"),
    [(401, "VENDOR_KEY"), (403, "VENDOR_KEY"), (404, "model-1"), (413, "long")],
)
def test_the_hint_says_what_to_check(status: int, hinted: str) -> None:
    assert hinted in (ENDPOINT.refused(status, {}, body()).hint or "")


@pytest.mark.parametrize(
    "said",
    [
        "prompt is too long: 9 > 8",
        "input length and `max_tokens` exceed context limit: 7 + 2 > 8",
        "This model's maximum context length is 8 tokens.",
        "Your input exceeds the context window of this model.",
        "The input token count (9) exceeds the maximum number of tokens allowed (8).",
        "Input is too long for requested model.",
    ],
)
def test_a_prompt_that_is_too_long_is_hinted_at_by_its_words(said: str) -> None:
    error = ENDPOINT.refused(400, {}, body("invalid_request_error", said))
    assert "checkpoint" in (error.hint or "")
    assert not error.retryable


def test_a_used_up_quota_is_not_worth_asking_again() -> None:
    assert not ENDPOINT.refused(429, {}, body("x", code="insufficient_quota")).retryable


def test_an_error_inside_the_stream_goes_by_its_kind() -> None:
    passing = ENDPOINT.refused(200, {}, body("overloaded_error"))
    assert passing.retryable
    assert passing.status is None
    assert not ENDPOINT.refused(200, {}, body("invalid_request_error")).retryable
    assert ENDPOINT.refused(200, {}, None).retryable


def test_a_redirect_is_named_and_final() -> None:
    error = ENDPOINT.refused(307, {"location": "https://evil.example"}, None)
    assert not error.retryable
    assert "redirects" in error.message


@pytest.mark.parametrize(
    "said",
    [
        f"bad key {KEY}",
        f"bad key {KEY}.",
        "Incorrect API key provided: sk-proj-abc***xyz",
        "Bearer abcdefghijk",
    ],
)
def test_keys_are_never_shown(said: str) -> None:
    message = ENDPOINT.refused(401, {}, body(message=said)).message
    assert "***" in message
    for part in ("canary", "abc", "0123"):
        assert part not in message


def test_a_secret_of_any_shape_is_not_shown_and_a_short_header_garbles_nothing() -> None:
    endpoint = Endpoint("Vendor", "m", "K", ("my~odd~secret", "1"))
    message = endpoint.refused(400, {}, body(message="my~odd~secret at line 11")).message
    assert message.endswith("*** at line 11")


def test_a_vendors_words_are_one_short_printable_line() -> None:
    message = ENDPOINT.refused(400, {}, body(message="a\x1b[2J\r\nb\u009d" + "c" * 5000)).message
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Fri, 20 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Fri, 99 Nov 2026 99:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(
    headers: dict[str, str], seconds: float | None
) -> None:
    noon_s = 1_795_176_000.0  # 20 Nov 2026, 12:00:00 GMT
    assert retry_after_s(headers, now_s=noon_s) == seconds


def test_a_key_is_read_and_trimmed() -> None:
    assert read_key({"K": " abc\n"}, "K") == "abc"


@pytest.mark.parametrize("env", [{}, {"K": ""}, {"K": "  "}])
def test_a_missing_key_is_named(env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"^K is not set$") as caught:
        read_key(env, "K")
    assert "K" in (caught.value.hint or "")


@pytest.mark.parametrize("value", ["a\nb", "kéy", "a\x00b"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_key({"K": value}, "K")
    assert value not in caught.value.message


@pytest.mark.parametrize("headers", [{"a b": "x"}, {"": "x"}, {"a": "secret\n"}, {"a": "sécret"}])
def test_headers_that_cannot_be_sent_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_headers(headers)
    assert "cret" not in caught.value.message

"""From what a vendor says when it fails to the one error the engine knows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from perstack.errors import ConfigError, ProviderError
from perstack.providers.http_rules import is_retryable, retry_after_s
from perstack.providers.wire import items, obj, text

if TYPE_CHECKING:
    import anthropic
    import openai

_LONGEST_DETAIL: Final = 300
# A shorter header value ("1") is no secret, and would garble every message.
_SHORTEST_SECRET: Final = 6
_KEY_LIKE: Final = re.compile(r"\b(sk|key|Bearer)[-_ ][A-Za-z0-9*._-]{6,}")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e\u00a1-\ufffd]+")
# A vendor's way to say, under a status that reads otherwise, that it is busy.
_PASSING: Final = re.compile(
    r"rate.?limit|service.?unavailable|overloaded|throttl|quota exceeded|timed out|timeout",
    re.IGNORECASE,
)
_PASSING_STATUS: Final = frozenset({400, 402, 403, 424})
_TOO_LONG: Final = re.compile(
    r"prompt is too long|maximum context length|context.?(length|window|limit)|input is too long"
    r"|exceeds the maximum number of tokens",
    re.IGNORECASE,
)
# Kinds of failure that asking again does not mend, whatever the status they came with.
_FINAL_KINDS: Final = frozenset({
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "billing_error",
    "not_found_error",
    "request_too_large",
    "insufficient_quota",
    "invalid_api_key",
    "model_not_found",
    "context_length_exceeded",
    "content_policy_violation",
    "invalid_prompt",
    "data_residency_mismatch",
    "bio_policy",
    "misalignment_policy_violation",
    "accessdeniedexception",
    "validationexception",
    "resourcenotfoundexception",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What messages may say about where requests go; `secrets` never appear in them."""

    vendor: str
    model: str
    key_name: str
    secrets: Sequence[str] = field(default=(), repr=False)

    def hiding(self, *secrets: str) -> Endpoint:
        """Return the same with more that must not be shown."""
        return replace(self, secrets=(*self.secrets, *secrets))

    def timed_out(self) -> ProviderError:
        """Return the error for a vendor that kept silent too long."""
        return ProviderError(f"{self.vendor} did not answer in time", retryable=True)

    def unreachable(self, cause: BaseException | None) -> ProviderError:
        """Return the error for a connection that could not be made, or broke."""
        detail = self.redact(str(cause)) if cause else ""
        shown = f": {detail}" if detail else ""
        return ProviderError(f"the connection to {self.vendor} failed{shown}", retryable=True)

    def garbled(self, cause: BaseException) -> ProviderError:
        """Return the error for an answer that is not what the protocol says."""
        return ProviderError(
            f"{self.vendor} sent an answer that cannot be read ({type(cause).__name__})",
            retryable=True,
        )

    def cut_short(self) -> ProviderError:
        """Return the error for a stream that ended before the vendor said it was done."""
        return ProviderError(f"the answer of {self.vendor} was cut short", retryable=True)

    def refused(self, status: int, headers: Mapping[str, str], body: object) -> ProviderError:
        """Return the error for an HTTP status that is not a success, or an error inside a stream.

        A stream's error comes with status 200; its kind alone then says whether to ask again.
        """
        error = _error_in(body)
        kinds = {text(error.get(name)).lower() for name in ("type", "code", "status")}
        detail = text(error.get("message"))
        in_stream = 200 <= status < 300
        passing = status in _PASSING_STATUS and _PASSING.search(detail) is not None
        return ProviderError(
            self._sentence(None if in_stream else status, detail),
            hint=self._hint(status, kinds, detail),
            retryable=not kinds & _FINAL_KINDS and (in_stream or passing or is_retryable(status)),
            retry_after_s=retry_after_s(headers),
            status=None if in_stream else status,
        )

    def redact(self, said: str) -> str:
        """Return `said` on one printable line, without keys, cut at 300 characters."""
        for secret in self.secrets:
            if len(secret) >= _SHORTEST_SECRET:
                said = said.replace(secret, "***")
        said = _KEY_LIKE.sub("***", said)
        line = _UNPRINTABLE.sub(" ", said).strip()
        return line if len(line) <= _LONGEST_DETAIL else line[:_LONGEST_DETAIL] + "…"

    def _sentence(self, status: int | None, detail: str) -> str:
        if status is not None and 300 <= status < 400:
            detail = "it redirects to another address, which is not followed"
        shown = self.redact(detail)
        where = f" (HTTP {status})" if status is not None else ""
        return f"{self.vendor} refused or failed{where}" + (f": {shown}" if shown else "")

    def _hint(self, status: int, kinds: set[str], detail: str) -> str | None:
        if status == 401 or "authentication_error" in kinds:
            return f"check {self.key_name}" if self.key_name else None
        if status == 403:
            account = f"the account of {self.key_name}" if self.key_name else "you"
            return f"check that {account} may use {self.model}"
        if status == 404:
            return f"check the model's name ({self.model}) and baseUrl"
        if status == 413 or "context_length_exceeded" in kinds or _TOO_LONG.search(detail):
            return "the conversation is too long: go on from an earlier checkpoint, or start anew"
        return None


@dataclass(frozen=True, slots=True)
class SdkErrors:
    """An SDK's error classes."""

    base: type[anthropic.AnthropicError] | type[openai.OpenAIError]
    timeout: type[anthropic.APITimeoutError] | type[openai.APITimeoutError]
    status: type[anthropic.APIStatusError] | type[openai.APIStatusError]
    connection: type[anthropic.APIConnectionError] | type[openai.APIConnectionError]
    any_api: type[anthropic.APIError] | type[openai.APIError]


def translate(endpoint: Endpoint, error: Exception, sdk: SdkErrors) -> ProviderError:
    """Return our error for one of an SDK's, or of the HTTP library below it."""
    import httpx2

    if isinstance(error, sdk.status):
        return endpoint.refused(error.status_code, error.response.headers, error.body)
    if isinstance(error, (sdk.timeout, httpx2.TimeoutException)):
        return endpoint.timed_out()
    if isinstance(error, (sdk.connection, httpx2.HTTPError)):
        return endpoint.unreachable(error.__cause__ or error)
    if isinstance(error, sdk.any_api):  # An error inside the stream.
        return endpoint.refused(200, {}, error.body)
    return endpoint.garbled(error)


def _error_in(body: object) -> Mapping[str, object]:
    """Return the error a body tells of; Google wraps it into a list."""
    first = next(iter(items(body)), body)
    return obj(obj(first).get("error")) or obj(first)


def read_key(env: Mapping[str, str], name: str) -> str:
    """Return the key in `env[name]`.

    Raises:
        ConfigError: it is missing, or holds what no HTTP header can.
    """
    key = env.get(name, "").strip()
    if not key:
        raise ConfigError(f"{name} is not set", hint=f"export {name}=... or put it into .env")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{name} holds a character that cannot be sent", hint=f"set {name} again")
    return key


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the configured headers.

    Raises:
        ConfigError: one cannot be sent; its value is not shown.
    """
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise ConfigError(
                f"{name!a} is not a header's name", hint="see [provider.setting] headers"
            )
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(f"the header {name} holds a character that cannot be sent")
    return dict(headers)

"""Claude on Amazon Bedrock. Requests are signed by Amazon's library, an optional extra."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from perstack.errors import ConfigError
from perstack.providers.anthropic.platform import API_VERSION, Json, Platform
from perstack.providers.anthropic.tools import ToolSet
from perstack.providers.failures import Endpoint, check_headers, read_key
from perstack.providers.setup import Setup
from perstack.providers.urls import check_base_url

if TYPE_CHECKING:
    import httpx2
    from anthropic.lib.bedrock import AsyncAnthropicBedrock

VENDOR: Final = "Amazon Bedrock"
_REGION: Final = re.compile(r"[a-z]{2,8}(-[a-z0-9]+)+-\d{1,2}")
_KEY_ID: Final = "AWS_ACCESS_KEY_ID"
_SECRET: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105
_SESSION: Final = "AWS_SESSION_TOKEN"


class Bedrock(Platform):
    """Claude in one region of Bedrock."""

    def __init__(self, setup: Setup) -> None:
        """Read credentials and region.

        Raises:
            ConfigError: one of them is missing or no such thing, the extra is not installed, or
                the model is none that this platform serves in Anthropic's protocol.
        """
        self._key_id = read_key(setup.env, _KEY_ID)
        self._secret = read_key(setup.env, _SECRET)
        self._session = setup.env.get(_SESSION, "").strip() or None
        self._region = _read_region(setup)
        self._headers = check_headers(setup.settings.headers)
        given = setup.settings.base_url
        amazons = f"https://bedrock-runtime.{self._region}.amazonaws.com"
        self._url = check_base_url(given) if given else amazons
        _check_model(setup.model)
        _check_extra()
        secrets = (self._key_id, self._secret, self._session or "", *self._headers.values())
        super().__init__(setup, Endpoint(VENDOR, setup.model, _KEY_ID, secrets), ToolSet(VENDOR))

    def connect(self, http: httpx2.AsyncClient) -> AsyncAnthropicBedrock:
        """Make the SDK's client."""
        from anthropic.lib.bedrock import AsyncAnthropicBedrock

        return AsyncAnthropicBedrock(
            aws_access_key=self._key_id,
            aws_secret_key=self._secret,
            aws_session_token=self._session,
            aws_region=self._region,
            base_url=self._url,
            timeout=self.setup.timeout_s,
            max_retries=0,
            default_headers=self._headers,
            http_client=http,
            open_telemetry=False,
        )

    @property
    def path(self) -> str:
        """The model's own path."""
        return f"/model/{quote(self.setup.model, safe=':')}/invoke-with-response-stream"

    def head(self, betas: Sequence[str]) -> Json:
        """Return the protocol's version and the betas; the path names the model."""
        head: Json = {"anthropic_version": API_VERSION}
        if betas:
            head["anthropic_beta"] = list(betas)
        return head

    async def headers(self, betas: Sequence[str]) -> Mapping[str, str]:
        """Return none: betas are in the body, the signature is added when the request is sent."""
        del betas
        return {}


def _read_region(setup: Setup) -> str:
    region = setup.settings.region or setup.env.get("AWS_REGION", "").strip()
    if not region:
        raise ConfigError(
            "AWS_REGION is not set", hint='export AWS_REGION=..., or set region = "us-east-1"'
        )
    if not _REGION.fullmatch(region):
        raise ConfigError(f"{region!a} is not the name of an AWS region", hint="as in us-east-1")
    return region


def _check_model(model: str) -> None:
    if "claude" not in model and not model.startswith("arn:"):
        raise ConfigError(
            f"the provider amazon-bedrock serves Claude models here, and {model!a} is none",
            hint='as in model = "anthropic.claude-sonnet-5-5"; an ARN of a profile works too',
        )


def _check_extra() -> None:
    if importlib.util.find_spec("boto3") is None:
        raise ConfigError(
            "the provider amazon-bedrock needs Amazon's library, which is not installed",
            hint="pip install 'perstack[bedrock]'",
        )

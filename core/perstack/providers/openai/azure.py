"""Models deployed to a resource of Azure OpenAI."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from perstack.errors import ConfigError
from perstack.providers.failures import check_headers, read_key
from perstack.providers.openai.access import AzureAccess
from perstack.providers.openai.base import OpenAISdkModel
from perstack.providers.openai.chat import ChatCompletionsModel, openai_dialect
from perstack.providers.openai.responses import ResponsesModel
from perstack.providers.openai.tools import AZURE_TOOLS
from perstack.providers.setup import Setup
from perstack.providers.urls import base_url

VENDOR: Final = "Azure OpenAI"
_KEY: Final = "AZURE_API_KEY"
_RESOURCE: Final = "AZURE_RESOURCE_NAME"
_URL: Final = "AZURE_BASE_URL"
_VERSION: Final = "AZURE_API_VERSION"
_RESOURCE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")


def open_azure(setup: Setup) -> OpenAISdkModel:
    """Return a deployment; the model's name is the deployment's.

    How much to reason is told to deployments that are named after a model of OpenAI's.

    Raises:
        ConfigError: key or address is missing or no such thing, or the settings contradict
            each other.
    """
    key = read_key(setup.env, _KEY)
    settings = setup.settings
    version = settings.api_version or setup.env.get(_VERSION, "").strip()
    root = _root(setup)
    by_deployment = settings.use_deployment_based_urls
    if by_deployment and not version:
        raise ConfigError(
            f"{_VERSION} is not set, which useDeploymentBasedUrls needs",
            hint='set apiVersion = "..." to a dated version of the service',
        )
    path = f"/deployments/{quote(setup.model, safe='')}" if by_deployment else "/v1"
    headers = check_headers(settings.headers)
    access = AzureAccess(VENDOR, root + path, key, _KEY, headers, version or "v1")
    if settings.api != "responses":
        why = 'the older protocol has none; set api = "responses"'
        return ChatCompletionsModel(setup, access, openai_dialect(setup), no_tools=why)
    if by_deployment:
        raise ConfigError('api = "responses" does not go with useDeploymentBasedUrls')
    return ResponsesModel(setup, access, AZURE_TOOLS)


def _root(setup: Setup) -> str:
    """Return the address below which deployments are; the configuration beats the environment."""
    settings, env = setup.settings, setup.env
    name = settings.resource_name
    if settings.base_url or (not name and env.get(_URL, "").strip()):
        return base_url(setup, _URL, "")
    name = name or env.get(_RESOURCE, "").strip()
    if not name:
        raise ConfigError(
            f"{_RESOURCE} is not set", hint=f"export {_RESOURCE}=... or {_URL}=https://..."
        )
    if not _RESOURCE_NAME.fullmatch(name):
        raise ConfigError(f"{name!a} is not the name of a resource of Azure")
    return f"https://{name}.openai.azure.com/openai"

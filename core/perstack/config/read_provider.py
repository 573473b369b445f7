"""Which vendor is asked, and how it is reached: `[provider]` of `perstack.toml`."""

from __future__ import annotations

from typing import Final

from perstack.config import limits
from perstack.config.headers import read_headers
from perstack.config.report import listed, meant, shown
from perstack.config.table import Table, among, given
from perstack.config.urls import fault_of_address, fault_of_any_host
from perstack.config.vocabulary import OPENAI_APIS, PROVIDER_SETTINGS, PROVIDERS
from perstack.domain.settings import OF_PLUGIN, ProviderName, ProviderSettings, plugin_provider

_INSTEAD: Final = "put keys into the environment or a .env file, such as ANTHROPIC_API_KEY=..."
_FIELDS: Final = {
    "baseUrl": "base_url",
    "allowPrivate": "allow_private",
    "headers": "headers",
    "organization": "organization",
    "project": "project",
    "name": "client_name",
    "api": "api",
    "resourceName": "resource_name",
    "apiVersion": "api_version",
    "useDeploymentBasedUrls": "use_deployment_based_urls",
    "region": "region",
    "location": "location",
    "scenario": "scenario",
    "pace": "pace",
}


def read_provider(top: Table) -> ProviderSettings:
    """Read the provider's name and those of its settings that it has."""
    table = top.table("provider")
    if table is None:
        return ProviderSettings()
    name = _read_name(table)
    setting = table.table("setting")
    provider = _read_setting(setting, name) if setting else ProviderSettings(name=name)
    table.close()
    return provider


def provider_named(text: str | None) -> ProviderName | None:
    """Return the vendor, or the provider of a plugin, that `text` names; None if it is neither."""
    return among(text, PROVIDERS) or (plugin_provider(text) if text else None)


def unavailable_provider(name: str) -> str:
    """Say that this version cannot ask the provider `name`."""
    if name.startswith(OF_PLUGIN):
        return f"{shown(name)} names no provider: {OF_PLUGIN} and a-z, 0-9, _ and - follow"
    return f"Provider {shown(name)} is not available. Available providers: {listed(PROVIDERS)}"


def _read_name(table: Table) -> ProviderName:
    name = table.text("providerName")
    found = provider_named(name)
    if name is None or found is not None:
        return found or PROVIDERS[0]
    # The rest of the table is read as what was probably meant.
    guess = among(meant(name, PROVIDERS), PROVIDERS) or PROVIDERS[0]
    table.problem("providerName", unavailable_provider(name), f'write providerName = "{guess}"')
    return guess


def _read_setting(setting: Table, name: ProviderName) -> ProviderSettings:
    read = ProviderSettings(
        name=name,
        base_url=_read_base_url(setting, name),
        allow_private=given(setting.flag("allowPrivate"), False),
        headers=read_headers(setting, instead=_INSTEAD),
        organization=setting.text("organization"),
        project=setting.text(
            "project", rule=limits.CLOUD_PROJECT if name == "google-vertex" else None
        ),
        client_name=setting.text("name", longest=limits.NAME_LENGTH),
        api=setting.choice("api", OPENAI_APIS) or "auto",
        resource_name=setting.text("resourceName", rule=limits.HOST_PART),
        api_version=setting.text("apiVersion", rule=limits.API_VERSION),
        use_deployment_based_urls=given(setting.flag("useDeploymentBasedUrls"), False),
        region=setting.text("region", rule=limits.HOST_PART),
        location=setting.text("location", rule=limits.HOST_PART),
        scenario=setting.text("scenario", shortest=1),
        pace=given(setting.number("pace", limits.PACE), 1.0),
    )
    own = PROVIDER_SETTINGS.get(name, ())
    for key in _FIELDS:
        if key in setting and key not in own:
            remedy = f"{name} has: {listed(own) or 'none'}"
            setting.warn(key, f"has no effect with the provider {name}", remedy)
    setting.close()
    # What has no effect with this provider is not to look as if it had.
    usual = ProviderSettings()
    foreign = {field: getattr(usual, field) for key, field in _FIELDS.items() if key not in own}
    return read.model_copy(update=foreign)


def _read_base_url(setting: Table, name: ProviderName) -> str | None:
    url = setting.text("baseUrl", shortest=1)
    if url is None:
        return None
    # Ollama is sent no key, and runs on whatever machine has the memory for it.
    if name == "ollama":
        fault = fault_of_any_host(url)
        found = (fault, "write a URL such as http://localhost:11434") if fault else None
    else:
        allowed = setting.raw("allowPrivate") is True
        found = fault_of_address(url, allow_private=allowed)
    if found is None and ("?" in url or "#" in url):
        found = "must not hold a query or fragment: paths are added to it", "end it with its path"
    if found:
        setting.problem("baseUrl", *found)
        return None
    return url

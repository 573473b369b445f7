"""Where each provider is asked and with which key, what is said if that fails, and proxies."""

from __future__ import annotations

import pytest

from perstack.domain.messages import TextPart
from perstack.domain.settings import ProviderName, ProviderSettings
from perstack.errors import ConfigError, ProviderError
from tests.fakes.conversation import ask, request
from tests.fakes.model_server import model_server
from tests.fakes.model_wire import Refusal, Reply
from tests.fakes.vendors import ENV, KEY, MODELS, opened, settings

pytestmark = pytest.mark.anyio

DONE = Reply(["done"])


@pytest.mark.parametrize(
    ("name", "variable", "path"),
    [
        ("anthropic", "ANTHROPIC_BASE_URL", "/v1/messages"),
        ("openai", "OPENAI_BASE_URL", "/chat/completions"),
        ("google", "GOOGLE_GENERATIVE_AI_BASE_URL", "/chat/completions"),
        ("deepseek", "DEEPSEEK_BASE_URL", "/chat/completions"),
        ("azure-openai", "AZURE_BASE_URL", "/v1/chat/completions?api-version=v1"),
        (
            "google-vertex",
            "GOOGLE_VERTEX_BASE_URL",
            "/projects/blue-sky-1/locations/europe-west4/endpoints/openapi/chat/completions",
        ),
    ],
)
async def test_the_configuration_beats_the_environment(
    name: ProviderName, variable: str, path: str
) -> None:
    async with model_server(DONE, DONE) as server, model_server(DONE) as other:
        env = {**ENV, variable: server.url}
        async with opened(name, MODELS[name], env=env) as model:
            await ask(model, request())
        assert server.requests[0].path == path
        configured = settings(name, other)
        async with opened(configured, MODELS[name], env=env) as model:
            await ask(model, request())
        assert len(server.requests) == len(other.requests) == 1


@pytest.mark.parametrize(
    ("name", "variable", "given", "path"),
    [
        ("anthropic", "ANTHROPIC_BASE_URL", "/v1", "/v1/messages"),
        (
            "google",
            "GOOGLE_GENERATIVE_AI_BASE_URL",
            "/v1beta",
            "/v1beta/openai/chat/completions",
        ),
        (
            "google-vertex",
            "GOOGLE_VERTEX_BASE_URL",
            "/v1/projects/another/locations/moon/publishers/google",
            "/v1/projects/blue-sky-1/locations/europe-west4/endpoints/openapi/chat/completions",
        ),
    ],
)
async def test_an_address_may_be_set_as_other_clients_of_the_vendor_have_it(
    name: ProviderName, variable: str, given: str, path: str
) -> None:
    async with model_server(DONE) as server:
        env = {**ENV, variable: server.url + given}
        async with opened(name, MODELS[name], env=env) as model:
            await ask(model, request())
        assert server.requests[0].path == path


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("openai", "OPENAI_API_KEY"),
        ("google", "GOOGLE_GENERATIVE_AI_API_KEY"),
        ("deepseek", "DEEPSEEK_API_KEY"),
        ("azure-openai", "AZURE_API_KEY"),
        ("azure-openai", "AZURE_RESOURCE_NAME"),
        ("amazon-bedrock", "AWS_ACCESS_KEY_ID"),
        ("amazon-bedrock", "AWS_SECRET_ACCESS_KEY"),
        ("amazon-bedrock", "AWS_REGION"),
        ("google-vertex", "GOOGLE_VERTEX_PROJECT"),
        ("google-vertex", "GOOGLE_VERTEX_LOCATION"),
    ],
)
async def test_what_is_missing_is_named(name: ProviderName, variable: str) -> None:
    env = {key: value for key, value in ENV.items() if key != variable}
    with pytest.raises(ConfigError, match=f"^{variable} is not set$") as caught:
        async with opened(name, MODELS[name], env=env):
            pass
    assert variable in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("azure-openai", {"resource_name": "evil.example/x"}),
        ("azure-openai", {"resource_name": "blue", "use_deployment_based_urls": True}),
        ("amazon-bedrock", {"region": "evil.example/"}),
        ("google-vertex", {"location": "evil.example/"}),
        ("google-vertex", {"project": "../other"}),
        ("google", {"base_url": "http://evil.example"}),
        ("deepseek", {"base_url": "http://evil.example"}),
        ("ollama", {"base_url": "file:///etc/passwd"}),
    ],
)
async def test_names_that_would_lead_a_key_elsewhere_are_refused(
    name: ProviderName, more: dict[str, object]
) -> None:
    given = ProviderSettings.model_validate({"name": name, **more})
    with pytest.raises(ConfigError) as caught:
        async with opened(given, MODELS[name]):
            pass
    assert caught.value.hint or "is not the name of" in caught.value.message


async def test_bedrock_refuses_models_of_other_makers() -> None:
    with pytest.raises(ConfigError, match="nova"):
        async with opened("amazon-bedrock", "amazon.nova-pro-v1:0"):
            pass


@pytest.mark.parametrize("name", [name for name in MODELS if name != "ollama"])
async def test_errors_name_the_vendor_and_hide_keys(name: ProviderName) -> None:
    refusal = Refusal(401, f"bad key {KEY}", "authentication_error")
    async with model_server(refusal) as server:
        async with opened(settings(name, server), MODELS[name]) as model:
            with pytest.raises(ProviderError) as caught:
                await ask(model, request())
        assert len(server.requests) == 1
    error = caught.value
    assert (error.status, error.retryable) == (401, False)
    assert KEY not in f"{error.message} {error.hint}"
    assert "check" in (error.hint or "")


async def test_googles_errors_come_in_a_list() -> None:
    body = b'[{"error": {"code": 400, "message": "no such model", "status": "INVALID_ARGUMENT"}}]'
    async with (
        model_server(Refusal(400, body=body)) as server,
        opened(settings("google", server), "gemini-9") as model,
    ):
        with pytest.raises(ProviderError, match="no such model"):
            await ask(model, request())


async def test_a_proxy_of_perstacks_own_carries_the_requests() -> None:
    async with model_server(DONE, DONE) as proxy:
        password = "http://user:secret-canary@"
        env = {**ENV, "PERSTACK_PROXY_URL": proxy.url.replace("http://", password)}
        elsewhere = ProviderSettings(base_url="http://127.0.0.1:9")
        async with opened(elsewhere, "claude-sonnet-5-5", env=env) as model:
            _, generation = await ask(model, request())
        assert generation.parts == (TextPart(text="done"),)
        (seen,) = proxy.requests
        assert seen.path == "http://127.0.0.1:9/v1/messages"
        assert seen.headers["proxy-authorization"].startswith("Basic ")

        direct = {**env, "NO_PROXY": "127.0.0.1"}
        async with opened(elsewhere, "claude-sonnet-5-5", env=direct) as model:
            with pytest.raises(ProviderError):
                await ask(model, request())
        assert len(proxy.requests) == 1


async def test_https_is_tunnelled_and_a_proxys_refusal_hides_its_password() -> None:
    async with model_server(Refusal(407, "who are you")) as proxy:
        url = proxy.url.replace("http://", "http://user:secret-canary@")
        async with opened("deepseek", "x", env={**ENV, "PERSTACK_PROXY_URL": url}) as model:
            with pytest.raises(ProviderError) as caught:
                await ask(model, request())
        assert [seen.path for seen in proxy.requests] == ["api.deepseek.com:443"]
    assert caught.value.retryable
    assert "canary" not in f"{caught.value.message} {caught.value.hint}"


async def test_without_it_the_usual_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async with model_server(DONE) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with opened(ProviderSettings(base_url="http://127.0.0.1:9"), "claude-x") as model:
            await ask(model, request())
        assert proxy.requests[0].path == "http://127.0.0.1:9/v1/messages"

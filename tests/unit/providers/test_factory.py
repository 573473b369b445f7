"""Opening the model that settings ask for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perstack.domain.settings import ProviderName, ProviderSettings, Settings
from perstack.errors import ConfigError
from perstack.providers.factory import open_model, warm_up

KEYS = {"ANTHROPIC_API_KEY": "a-key", "OPENAI_API_KEY": "o-key"}


def settings(name: ProviderName, model: str = "claude-sonnet-5-5", **more: object) -> Settings:
    provider = ProviderSettings.model_validate({"name": name, **more})
    return Settings(model=model, provider=provider)


@pytest.mark.parametrize(
    ("name", "model", "window"),
    [("anthropic", "claude-sonnet-5-5", 1_000_000), ("openai", "o3", 200_000)],
)
def test_the_vendor_asked_for_is_opened(
    name: ProviderName, model: str, window: int, tmp_path: Path
) -> None:
    opened = open_model(settings(name, model), env=KEYS, base_dir=tmp_path)
    assert opened.name == model
    assert opened.context_window == window


@pytest.mark.parametrize(
    ("name", "variable"), [("anthropic", "ANTHROPIC_API_KEY"), ("openai", "OPENAI_API_KEY")]
)
def test_a_missing_key_is_named_before_anything_else(
    name: ProviderName, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "of the process, which is not asked")
    with pytest.raises(ConfigError, match=f"^{variable} is not set$"):
        open_model(settings(name), env={}, base_dir=tmp_path)


@pytest.mark.parametrize("name", ["anthropic", "openai"])
def test_an_address_no_key_may_go_to_is_refused(name: ProviderName, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="baseUrl"):
        open_model(settings(name, base_url="http://evil.example"), env=KEYS, base_dir=tmp_path)
    env = KEYS | {f"{name.upper()}_BASE_URL": "http://evil.example"}
    with pytest.raises(ConfigError, match=f"{name.upper()}_BASE_URL"):
        open_model(settings(name), env=env, base_dir=tmp_path)
    configured = settings(name, base_url="https://good.example")
    assert open_model(configured, env=env, base_dir=tmp_path)


def test_a_scenario_is_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "demo.toml").write_text('[[turns]]\ntext = "x"')
    asked = settings("scripted", scenario="demo.toml", pace=0)
    assert open_model(asked, env={}, base_dir=tmp_path).name == "scripted:demo"


def test_a_missing_scenario_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no scenario") as caught:
        open_model(settings("scripted"), env={}, base_dir=tmp_path)
    assert "scenario =" in (caught.value.hint or "")


def test_opening_imports_no_sdk_and_no_http_library() -> None:
    program = """
import sys
from pathlib import Path
from perstack.domain.settings import ProviderSettings, Settings
from perstack.providers.factory import open_model
from tests.fakes.vendors import ENV
models = {"amazon-bedrock": "anthropic.claude-sonnet-5-5"}
for name in (
    "anthropic", "openai", "google", "ollama", "azure-openai", "amazon-bedrock", "google-vertex",
    "deepseek",
):
    settings = ProviderSettings(name=name, resource_name="blue")
    wanted = Settings(model=models.get(name, "x"), provider=settings)
    open_model(wanted, env=ENV, base_dir=Path())
print(sorted({"anthropic", "openai", "httpx2", "httpx", "ssl", "boto3"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


@pytest.mark.parametrize(
    ("name", "model", "imported"),
    [
        ("openai", "gpt-5.5", "openai"),
        ("google-vertex", "gemini-2.5-flash", "openai"),
        ("google-vertex", "claude-sonnet-5-5", "anthropic"),
    ],
)
def test_warming_up_imports_that_vendor_alone(name: str, model: str, imported: str) -> None:
    program = """
import sys
from perstack.providers.factory import warm_up
warm_up("scripted", "x")
warm_up(*sys.argv[1:])
print(sorted({"anthropic", "openai"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, name, model], capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == f"['{imported}']"
    warm_up("scripted", "x")

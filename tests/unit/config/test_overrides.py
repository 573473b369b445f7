from __future__ import annotations

import pytest

from perstack.config.overrides import apply_overrides
from perstack.config.typed import Overrides
from perstack.domain.runtimes import ProgramName, RuntimeName, RuntimeSettings, is_program
from perstack.domain.settings import ProviderSettings, Settings
from perstack.errors import ConfigError, UsageError
from tests.unit.config.reading import read

FILE = (
    'model = "claude-haiku-5-5"\nmaxSteps = 7\nenvPath = ["a.env"]\n[provider.setting]\n'
    'baseUrl = "https://proxy.example"\nheaders = { X = "y" }\n'
)


def test_without_options_the_file_stands() -> None:
    config = read(FILE)
    assert apply_overrides(config, Overrides()) == config


def test_options_win_over_the_file_and_the_file_over_defaults() -> None:
    joined = apply_overrides(
        read(FILE),
        Overrides(
            model="claude-opus-5-5",
            reasoning_budget="2048",
            max_retries=1,
            timeout_ms=5,
            env_paths=("b.env", "c.env"),
            runtime="local",
        ),
    )
    assert joined.settings == Settings(
        model="claude-opus-5-5",
        provider=ProviderSettings(base_url="https://proxy.example", headers={"X": "y"}),
        reasoning_budget=2048,
        max_steps=7,
        max_retries=1,
        timeout=5,
        runtime=RuntimeSettings(typed=True, model_given=True),
    )
    assert joined.env_paths == ("b.env", "c.env")
    assert joined.model_given


@pytest.mark.parametrize(
    ("runtime", "model", "vendor"),
    [
        ("codex", "our-own-one", "openai"),
        ("gemini", "our-own-one", "google"),
        ("codex", "gpt-5", "anthropic"),  # its name says enough
        ("claude-code", "our-own-one", "anthropic"),
        ("cursor", "our-own-one", "anthropic"),
        ("perstack", "our-own-one", "anthropic"),
    ],
)
def test_a_model_that_is_typed_for_a_program_is_told_to_it(
    runtime: RuntimeName, model: str, vendor: str
) -> None:
    joined = apply_overrides(read(FILE), Overrides(runtime=runtime, model=model)).settings
    assert joined.provider.name == vendor
    if is_program(runtime):
        assert joined.model_of(runtime) == model


@pytest.mark.parametrize("program", ["codex", "gemini"])
def test_a_model_of_the_file_is_told_to_programs_of_its_vendor_alone(program: ProgramName) -> None:
    joined = apply_overrides(read(FILE), Overrides(runtime=program)).settings
    assert joined.model_of(program) == f"{program}:default"
    assert joined.model_of("claude-code") == joined.model_of("cursor") == "claude-haiku-5-5"


def test_another_provider_leaves_url_headers_and_model_of_the_file_behind() -> None:
    joined = apply_overrides(read(FILE), Overrides(provider="openai"))
    assert joined.settings.provider == ProviderSettings(name="openai")
    assert joined.settings.model == "gpt-5.5"
    assert not joined.redirects_key


def test_what_was_said_about_settings_left_behind_is_left_behind() -> None:
    config = read("[provider.setting]\nregion = 'x'\napiKey = 'y'\n")
    assert len(config.warnings) == 2
    assert apply_overrides(config, Overrides(provider="openai")).warnings == ()
    assert apply_overrides(config, Overrides(provider="anthropic")).warnings == config.warnings


@pytest.mark.parametrize("provider", ["ollama", "azure-openai", "amazon-bedrock", "google-vertex"])
def test_without_a_default_a_model_must_be_named_somewhere(provider: str) -> None:
    for config, overrides in (
        (read(f"[provider]\nproviderName = '{provider}'"), Overrides()),
        (read("model = 'claude-haiku-5-5'"), Overrides(provider=provider)),
    ):
        with pytest.raises(ConfigError, match=f"the provider {provider} has no default model") as c:
            apply_overrides(config, overrides)
        assert (
            c.value.hint == 'write model = "..." at the top of perstack.toml, or add --model NAME'
        )
    named = Overrides(provider=provider, model="mine")
    assert apply_overrides(read(""), named).settings.model == "mine"


def test_the_warning_about_reasoning_is_about_what_is_used() -> None:
    config = read("model = 'gpt-4.1'\n[provider]\nproviderName = 'openai'")
    keys = [one.key for one in config.warnings]
    assert keys == ["model", "reasoningBudget"]
    (last,) = apply_overrides(config, Overrides(reasoning_budget="0")).warnings
    assert last.key == "model"
    told = apply_overrides(config, Overrides(reasoning_budget="high")).warnings
    assert told[-1].hint == "--reasoning-budget none"


def test_naming_the_same_provider_keeps_its_settings() -> None:
    config = read(FILE)
    assert apply_overrides(config, Overrides(provider="anthropic")).settings == config.settings


def test_a_scenario_and_its_pace_reach_the_scripted_provider() -> None:
    joined = apply_overrides(
        read(FILE), Overrides(provider="scripted", scenario="s.toml", pace=0.5)
    )
    assert joined.settings.provider == ProviderSettings(
        name="scripted", scenario="s.toml", pace=0.5
    )
    assert joined.settings.model == "scripted"


def test_the_warning_about_the_model_is_about_the_one_used() -> None:
    old = read('model = "claude-sonnet-4-5"\nqqq = 1\n')
    mended = apply_overrides(old, Overrides(model="claude-sonnet-5-5"))
    assert [warning.key for warning in mended.warnings] == ["qqq"]
    worsened = apply_overrides(mended, Overrides(model="claude-opus-4-0"))
    assert [warning.key for warning in worsened.warnings] == ["qqq", "model"]
    assert worsened.warnings[-1].hint == "--model claude-opus-5-5"


@pytest.mark.parametrize("word", ["none", "minimal", "low", "medium", "high"])
def test_reasoning_budget_takes_the_words(word: str) -> None:
    joined = apply_overrides(read(""), Overrides(reasoning_budget=word))
    assert joined.settings.reasoning_budget == word


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            Overrides(provider="invalid-provider-xyz"),
            (
                'Provider "invalid-provider-xyz" is not available. Available providers: anthropic, '
                "google, openai, ollama, azure-openai, amazon-bedrock, google-vertex, deepseek, "
                "scripted"
            ),
        ),
        (
            Overrides(runtime="invalid-runtime"),
            (
                'Runtime "invalid-runtime" is not available. Available runtimes: '
                "perstack, docker, cursor, claude-code, gemini, codex"
            ),
        ),
        (Overrides(max_steps=0), "--max-steps must be an integer from 1 to 1,000,000, not 0"),
        (Overrides(max_retries=-1), "--max-retries must be an integer from 0 to 1,000, not -1"),
        (Overrides(timeout_ms=0), "--timeout must be an integer from 1 to 86,400,000, not 0"),
        (
            Overrides(reasoning_budget="lots"),
            (
                "--reasoning-budget must be one of none, minimal, low, medium, high or a number of "
                'tokens from 0 to 1,000,000, not "lots"'
            ),
        ),
        (Overrides(reasoning_budget="-1"), "--reasoning-budget must be one of"),
        (Overrides(reasoning_budget="1000001"), "--reasoning-budget must be one of"),
        (Overrides(reasoning_budget="9" * 9_999), "--reasoning-budget must be one of"),
        (Overrides(model=""), '--model "" is not a model\'s name'),
        (Overrides(model="\x1b[31m"), '--model "\\x1b[31m" is not a model\'s name'),
        (Overrides(scenario="s.toml"), "a scenario and its pace are for the scripted provider"),
        (Overrides(pace=1.0), "a scenario and its pace are for the scripted provider"),
        (Overrides(provider="scripted", pace=-1), "--pace must be a number from 0 to 1,000"),
        (Overrides(provider="scripted", pace=float("nan")), "--pace must be a number from 0"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_with_a_hint(
    overrides: Overrides, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        apply_overrides(read(""), overrides)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("named", "runtime", "vendor"),
    [
        ("claude-code", "claude-code", "anthropic"),
        ("claude_code", "claude-code", "anthropic"),
        ("gemini-cli", "gemini", "google"),
        ("gemini_cli", "gemini", "google"),
        ("codex", "codex", "openai"),
    ],
)
def test_a_program_named_as_a_provider_is_the_runtime_and_its_vendor_the_provider(
    named: str, runtime: str, vendor: str
) -> None:
    config = read('[experts."lead"]\ninstruction = "x"\nruntime = "cursor"\n')
    joined = apply_overrides(config, Overrides(provider=named))
    assert joined.settings.runtime.name == runtime
    assert joined.settings.provider.name == vendor
    assert joined.runtime_typed
    assert [expert.runtime for expert in joined.experts.values()] == [None]
    assert apply_overrides(config, Overrides(provider=named, runtime=runtime)) == joined


def test_a_program_named_as_a_provider_and_another_runtime_are_refused() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        apply_overrides(read(FILE), Overrides(provider="codex", runtime="perstack"))


def test_the_file_s_model_counts_as_named_only_for_its_own_provider() -> None:
    config = read('model = "gpt-5"\n[provider]\nproviderName = "openai"\n')
    same = apply_overrides(config, Overrides(provider="codex")).settings
    assert (same.model, same.runtime.model_given) == ("gpt-5", True)
    other = apply_overrides(config, Overrides(provider="claude-code")).settings
    assert not other.runtime.model_given
    typed = apply_overrides(config, Overrides(provider="claude-code", model="opus")).settings
    assert (typed.model, typed.runtime.model_given) == ("opus", True)

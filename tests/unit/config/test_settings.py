from __future__ import annotations

import pytest

from perstack.domain.runtimes import RuntimeSettings
from perstack.domain.settings import ConsensusSettings, NotifySettings, ProviderSettings, Settings
from tests.unit.config.reading import read, refusal, refused_lines, warned

ANTHROPIC = '[provider]\nproviderName = "anthropic"\n[provider.setting]\n'
OPENAI = '[provider]\nproviderName = "openai"\n[provider.setting]\n'
SCRIPTED = '[provider]\nproviderName = "scripted"\n[provider.setting]\n'


def test_an_empty_file_gives_the_defaults() -> None:
    config = read("")
    assert config.settings == Settings()
    assert config.env_paths == (".env", ".env.local")
    assert config.settings.runtime.name == "perstack"
    assert config.experts == {}
    assert config.warnings == ()
    assert not config.model_given


def test_every_setting_is_read() -> None:
    config = read(
        'model = "claude-haiku-5-5"\nruntime = "local"\nreasoningBudget = 4096\nmaxSteps = 7\n'
        'maxRetries = 0\ntimeout = 1000\nmaxParallel = 4\nenvPath = ["a.env"]\n'
        '[notify]\ncommand = ["say", ""]\nwebhook = "http://127.0.0.1:9/x"\n'
        + ANTHROPIC
        + 'baseUrl = "https://proxy.example/v1"\nheaders = { X-Team = "a b" }\n'
    )
    assert config.settings == Settings(
        model="claude-haiku-5-5",
        provider=ProviderSettings(base_url="https://proxy.example/v1", headers={"X-Team": "a b"}),
        reasoning_budget=4096,
        max_steps=7,
        max_retries=0,
        timeout=1000,
        max_parallel=4,
        notify=NotifySettings(command=("say", ""), webhook="http://127.0.0.1:9/x"),
        runtime=RuntimeSettings(name="perstack", model_given=True),
    )
    assert config.env_paths == ("a.env",)
    assert config.model_given
    assert config.warnings == ()


def test_consensus_is_read_whole() -> None:
    config = read(
        '[consensus]\nenabled = true\nrequireForRiskLevels = ["low"]\nreviewerStrategy = "human"\n'
        "timeout = 30000\nmaxDepth = 10\nautoReject = true\nhighRiskAgentTypes = []\n"
        'mediumRiskAgentTypes = ["a"]\nhighRiskPatterns = ["b"]\nmediumRiskPatterns = ["c"]\n'
    )
    assert config.settings.consensus == ConsensusSettings(
        enabled=True,
        require_for_risk_levels=("low",),
        reviewer_strategy="human",
        timeout=30_000,
        max_depth=10,
        auto_reject=True,
        high_risk_agent_types=(),
        medium_risk_agent_types=("a",),
        high_risk_patterns=("b",),
        medium_risk_patterns=("c",),
    )


@pytest.mark.parametrize(
    ("provider", "model"),
    [("anthropic", "claude-sonnet-5-5"), ("openai", "gpt-5.5"), ("scripted", "scripted")],
)
def test_each_provider_has_a_default_model(provider: str, model: str) -> None:
    config = read(f'[provider]\nproviderName = "{provider}"\n')
    assert config.settings.provider.name == provider
    assert config.settings.model == model


@pytest.mark.parametrize("word", ["none", "minimal", "low", "medium", "high"])
def test_reasoning_budget_may_be_a_word(word: str) -> None:
    assert read(f'reasoningBudget = "{word}"').settings.reasoning_budget == word


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model = 3", "model (line 1): must be a string, not 3"),
        ('model = ""', "model (line 1): must have 1 to 255 characters; it has 0"),
        (
            'maxSteps = "many"',
            'maxSteps (line 1): must be an integer from 1 to 1,000,000, not "many"',
        ),
        ("maxSteps = 0", "maxSteps (line 1): must be an integer from 1 to 1,000,000, not 0"),
        ("maxSteps = true", "maxSteps (line 1): must be an integer from 1 to 1,000,000, not true"),
        ("maxSteps = 1.5", "maxSteps (line 1): must be an integer from 1 to 1,000,000, not 1.5"),
        ("maxRetries = -1", "maxRetries (line 1): must be an integer from 0 to 1,000, not -1"),
        ("timeout = 0", "timeout (line 1): must be an integer from 1 to 86,400,000, not 0"),
        (
            "maxParallel = 1025",
            "maxParallel (line 1): must be an integer from 1 to 1,024, not 1025",
        ),
        (
            "maxParallel = 0x" + "f" * 6000,
            "maxParallel (line 1): must be an integer from 1 to 1,024, not a very long number",
        ),
        (
            'reasoningBudget = "hgih"',
            (
                "reasoningBudget (line 1): must be one of none, minimal, low, medium, high or a "
                'number of tokens from 0 to 1,000,000, not "hgih"'
            ),
        ),
        (
            "reasoningBudget = -1",
            (
                "reasoningBudget (line 1): must be one of none, minimal, low, medium, high or a "
                "number of tokens from 0 to 1,000,000, not -1"
            ),
        ),
        (
            'envPath = ".env"',
            'envPath (line 1): must be a list of strings such as ["a", "b"], not ".env"',
        ),
        ("envPath = [1]", "envPath (line 1): must hold strings only, not 1"),
        (
            'envPath = [""]',
            'envPath (line 1): has an item of 0 characters: ""; each has 1 to 2,048',
        ),
        ('envPath = ["\\u0000"]', "envPath (line 1): must not hold NUL characters"),
        (
            'runtime = "dokcer"',
            (
                'runtime (line 1): Runtime "dokcer" is not available. Available runtimes: '
                "perstack, docker, cursor, claude-code, gemini, codex; "
                'write runtime = "docker"'
            ),
        ),
        ("provider = 1", "provider (line 1): must be a table, not 1"),
        (
            '[provider]\nproviderName = "gogle"',
            (
                'provider.providerName (line 2): Provider "gogle" is not available. Available '
                "providers: anthropic, google, openai, ollama, azure-openai, amazon-bedrock, "
                'google-vertex, deepseek, scripted; write providerName = "google"'
            ),
        ),
        ("experts = []", "experts (line 1): must be a table, not a list"),
        (
            SCRIPTED + "pace = -1",
            "provider.setting.pace (line 4): must be a number from 0 to 1,000, not -1",
        ),
        (
            SCRIPTED + "pace = nan",
            (
                "provider.setting.pace (line 4): must be a number from 0 to 1,000, not a number "
                "without end"
            ),
        ),
        (
            SCRIPTED + "pace = 1" + "0" * 400,
            (
                "provider.setting.pace (line 4): must be a number from 0 to 1,000, not a very long "
                "number"
            ),
        ),
        (
            ANTHROPIC + 'headers = { "a b" = "c" }',
            (
                'provider.setting.headers."a b" (line 4): is not a header name: use letters, '
                "digits and '-'"
            ),
        ),
        (
            ANTHROPIC + 'headers = { a = "c\\nd" }',
            "provider.setting.headers.a (line 4): must be printable ASCII text",
        ),
    ],
)
def test_a_wrong_setting_is_refused_by_key_and_line(text: str, problem: str) -> None:
    assert refused_lines(text) == [problem]


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("enabled", '"yes"', 'must be true or false, not "yes"'),
        ("enabled", "1", "must be true or false, not 1"),
        ("requireForRiskLevels", '["hihg"]', 'may hold low, medium, high, not "hihg"'),
        (
            "reviewerStrategy",
            '"none"',
            'must be one of adversarial, different-model, human, not "none"',
        ),
        ("timeout", "29999", "must be an integer from 30,000 to 3,600,000, not 29999"),
        ("maxDepth", "11", "must be an integer from 1 to 10, not 11"),
        ("autoReject", "[]", "must be true or false, not a list"),
        ("highRiskPatterns", '[""]', 'has an item of 0 characters: ""; each has 1 to 255'),
        ("highRiskAgentTypes", "2020-01-01", None),
    ],
)
def test_a_wrong_value_of_consensus_refuses_the_file(
    key: str, value: str, problem: str | None
) -> None:
    expected = problem or 'must be a list of strings such as ["a", "b"], not a date or time'
    assert refused_lines(f"[consensus]\n{key} = {value}\n") == [
        f"consensus.{key} (line 2): {expected}"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[consensus]\nenabeld = true", "consensus.enabeld (line 2): unknown key; did you mean "),
        ("[concensus]\nenabled = true", "concensus (line 1): unknown key; did you mean consensus?"),
        (
            "[provider]\nconsensus.enabled = true",
            (
                "provider.consensus (line 2): has no effect here; write [consensus] as a table of "
                "its own"
            ),
        ),
    ],
)
def test_a_misspelt_or_misplaced_gate_refuses_the_file(text: str, problem: str) -> None:
    (line,) = refused_lines(text)
    assert line.startswith(problem)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://example.com", "must be https, or http on a loopback address such as 127.0.0.1"),
        ("http://127.0.0.1.example.com", "must be https, or http on a loopback"),
        ("http://8.8.8.8", "must be https, or http on a loopback"),
        ("https://127.1", "must name its host plainly"),
        ("https://2130706433", "must name its host plainly"),
        ("https://0x7f000001/", "must name its host plainly"),
        ("https://exam|ple.com", "must name its host plainly"),
        ("ftp://example.com", "must be a URL such as https://host/path"),
        ("https://", "must be a URL such as https://host/path"),
        ("https://user:pass@example.com", "must not hold a user name or password"),
        ("https://exa mple.com", "must not hold spaces or control characters"),
        ("https://example.com/\\u001b[31m", "must not hold spaces or control characters"),
        ("https://[::1", "is not a URL"),
        ("https://example.com:99999", "is not a URL"),
    ],
)
@pytest.mark.parametrize(
    "where", [ANTHROPIC + "baseUrl", "[notify]\nwebhook", "perstackApiBaseUrl"]
)
def test_a_url_that_could_leak_is_refused(where: str, url: str, fault: str) -> None:
    (line,) = refused_lines(f'{where} = "{url}"')
    assert f"): {fault}" in line
    assert line.endswith("; write an https:// URL")


@pytest.mark.parametrize(
    "url", ["https://example.com/v1", "http://127.0.0.1:8080", "http://[::1]:1", "http://localhost"]
)
def test_https_and_loopback_urls_are_accepted(url: str) -> None:
    assert read(f'{ANTHROPIC}baseUrl = "{url}"').settings.provider.base_url == url


@pytest.mark.parametrize(
    ("url", "redirects"),
    [
        ("https://api.anthropic.com/v1", False),
        ("http://localhost:1", False),
        ("https://evil.example", True),
    ],
)
def test_a_foreign_base_url_is_said_to_redirect_the_key(url: str, *, redirects: bool) -> None:
    assert read(f'{ANTHROPIC}baseUrl = "{url}"').redirects_key is redirects


def test_without_a_base_url_the_key_is_not_redirected() -> None:
    assert not read("").redirects_key


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "maxSteps = 0\nmaxRetries = -1\n[experts.a]\n[experts.b]\n"
    assert [line.split(":")[0] for line in refused_lines(text)] == [
        "maxSteps (line 1)",
        "maxRetries (line 2)",
        "experts.a.instruction (line 3)",
        "experts.b.instruction (line 4)",
    ]
    assert refusal(text).hint == "correct line 1 of perstack.toml and save it"


def test_more_than_twenty_problems_are_counted() -> None:
    text = "\n".join(f"[experts.e{number}]" for number in range(30))
    lines = refused_lines(text)
    assert len(lines) == 21
    assert lines[-1] == "and 10 more"


def test_an_unknown_key_is_a_warning_with_a_suggestion() -> None:
    (warning,) = read("max_steps = 5\n").warnings
    assert str(warning) == "max_steps (line 1): unknown key; did you mean maxSteps?"
    assert warning.hint == "write maxSteps"


def test_an_unknown_key_that_resembles_none_lists_the_known_ones() -> None:
    (warning,) = read("[provider]\nqqq = 5\n").warnings
    assert str(warning) == "provider.qqq (line 2): unknown key"
    assert warning.hint == "known here: providerName, setting"


def test_env_path_below_provider_is_told_to_move_up() -> None:
    (warning,) = read('[provider]\nenvPath = [".env"]\n').warnings
    assert warning.line == 2
    assert "has no effect here: TOML puts keys below [provider] into that table" in warning.message
    assert warning.hint == "move envPath above the first [table] of the file"


def test_a_key_in_the_file_is_warned_of_without_its_value() -> None:
    (warning,) = read(ANTHROPIC + 'apiKey = "sk-ant-very-secret"\n').warnings
    assert "secrets do not belong into this file" in warning.message
    assert "sk-ant" not in f"{warning}{warning.hint}"


def test_keys_of_later_versions_are_accepted_with_a_warning() -> None:
    (warning,) = warned("[web]\nenabled = true")
    assert warning.endswith("is not supported yet and has no effect")


@pytest.mark.parametrize("url", ["https://registry.example", "http://127.0.0.1:8788"])
def test_the_registrys_address_is_read(url: str) -> None:
    config = read(f'perstackApiBaseUrl = "{url}"')
    assert config.api_base_url == url
    assert config.warnings == ()


def test_without_one_the_registrys_address_is_the_usual_one() -> None:
    assert read("").api_base_url is None


def test_a_setting_of_another_provider_is_warned_of() -> None:
    assert warned(ANTHROPIC + "pace = 2") == [
        "provider.setting.pace (line 4): has no effect with the provider anthropic"
    ]


def test_settings_of_openai_and_of_the_scripted_provider_are_read() -> None:
    openai = read(OPENAI + 'organization = "o"\nproject = "p"\n')
    assert openai.settings.provider == ProviderSettings(
        name="openai", organization="o", project="p"
    )
    scripted = read(SCRIPTED + 'scenario = "s.toml"\npace = 0\n')
    assert scripted.settings.provider == ProviderSettings(
        name="scripted", scenario="s.toml", pace=0.0
    )
    assert openai.warnings == scripted.warnings == ()


@pytest.mark.parametrize(
    ("text", "warning", "hint"),
    [
        (
            'model = "claude-sonnet-4-5"',
            "claude-sonnet-4-5 is being retired; its vendor serves it until 2026-11-30",
            'write model = "claude-sonnet-5-5"',
        ),
        (
            'model = "claude-3-haiku-20240307"',
            "claude-3-haiku-20240307 has been retired by its vendor",
            'write model = "claude-haiku-5-5"',
        ),
        (
            'model = "gpt-4o-mini"\n' + OPENAI,
            "gpt-4o-mini is being retired; its vendor serves it until 2027-01-14",
            'write model = "gpt-5.4-mini"',
        ),
        (
            'model = "o3"\n' + OPENAI,
            "o3 is being retired; its vendor serves it until 2026-12-11",
            'write model = "gpt-5.5"',
        ),
        (
            'model = "gpt-5.5"',
            "gpt-5.5 is a model of openai, but the provider is anthropic",
            'write model = "claude-sonnet-5-5"',
        ),
        (
            'model = "claude-sonnet-5-5"\n' + OPENAI,
            "claude-sonnet-5-5 is a model of anthropic, but the provider is openai",
            'write model = "gpt-5.5"',
        ),
    ],
)
def test_a_doubtful_model_is_accepted_with_a_warning(text: str, warning: str, hint: str) -> None:
    (found,) = [one for one in read(text).warnings if one.key == "model"]
    assert (found.line, found.message, found.hint) == (1, warning, hint)


def test_any_model_is_fine_behind_an_own_url_and_with_a_script() -> None:
    own = 'model = "claude-sonnet-4-5"\n' + OPENAI + 'baseUrl = "http://localhost:1"'
    assert warned(own) == []
    assert warned('model = "gpt-4"\n' + SCRIPTED) == []


def test_a_notify_command_may_be_a_shell_like_line() -> None:
    config = read("[notify]\ncommand = \"notify-send 'a b' c\"\n")
    assert config.settings.notify.command == ("notify-send", "a b", "c")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ('"say \'x"', "has unbalanced quotes (No closing quotation); write it as a list of "),
        ('""', "must name a program"),
        ("[]", "must name a program"),
        ('["", "a"]', "must name a program"),
        ('["a\\u0000"]', "must not hold NUL characters"),
    ],
)
def test_a_notify_command_that_cannot_be_run_is_refused(value: str, problem: str) -> None:
    (line,) = refused_lines(f"[notify]\ncommand = {value}\n")
    assert line.startswith(f"notify.command (line 2): {problem}")

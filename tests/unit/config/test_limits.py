"""`[budget]`, `[exec]`, `[models]` and the limits at the top of the file."""

from __future__ import annotations

import pytest

from perstack.domain.settings import BudgetSettings, ExecSettings
from perstack.domain.usage import ModelFacts, ModelPrice
from tests.unit.config.reading import WRITER, read, refused_lines, warned


def test_budget_sandbox_and_depth_are_read() -> None:
    config = read(
        'maxDepth = 3\nperstackBaseSkillCommand = ["node", "base.js", ""]\n'
        "[budget]\nmaxTokens = 1\nmaxCostUsd = 2\nmaxDuration = 3\n"
        '[exec]\nsandbox = "bubblewrap"\nnetwork = true\n'
    )
    assert config.settings.max_depth == 3
    assert config.settings.base_skill_command == ("node", "base.js", "")
    assert config.settings.budget == BudgetSettings(max_tokens=1, max_cost_usd=2.0, max_duration=3)
    assert config.settings.exec == ExecSettings(sandbox="bubblewrap", network=True)
    assert config.warnings == ()


def test_what_the_user_states_of_a_model_is_read() -> None:
    config = read(
        '[models."my-model:7b"]\ncontextWindow = 8192\nmaxOutputTokens = 1024\nthinks = false\n'
        'source = "our price list"\n'
        "price = { input = 1, output = 2.5, cachedInput = 0, cacheWrite = 0.125 }\n"
        "[models.bare]\n"
    )
    assert config.settings.models == {
        "my-model:7b": ModelFacts(
            context_window=8192,
            max_output_tokens=1024,
            thinks=False,
            source="our price list",
            price=ModelPrice(input=1.0, output=2.5, cached_input=0.0, cache_write=0.125),
        ),
        "bare": ModelFacts(),
    }
    assert config.warnings == ()


def test_the_registrys_address_is_kept() -> None:
    assert read("").api_base_url is None
    config = read('perstackApiBaseUrl = "https://registry.example/v1"\n')
    assert config.api_base_url == "https://registry.example/v1"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("maxDepth = 0", "maxDepth (line 1): must be an integer from 1 to 100, not 0"),
        ("maxDepth = 101", "maxDepth (line 1): must be an integer from 1 to 100, not 101"),
        ("budget = 5", "budget (line 1): must be a table, not 5"),
        (
            "[budget]\nmaxTokens = 0",
            "budget.maxTokens (line 2): must be an integer from 1 to 1,000,000,000,000, not 0",
        ),
        (
            "[budget]\nmaxTokens = 1.5",
            "budget.maxTokens (line 2): must be an integer from 1 to 1,000,000,000,000, not 1.5",
        ),
        (
            "[budget]\nmaxCostUsd = 0",
            "budget.maxCostUsd (line 2): must be a number from 0.0001 to 1,000,000, not 0",
        ),
        (
            "[budget]\nmaxCostUsd = nan",
            (
                "budget.maxCostUsd (line 2): must be a number from 0.0001 to 1,000,000, not a "
                "number without end"
            ),
        ),
        (
            '[budget]\nmaxCostUsd = "5"',
            'budget.maxCostUsd (line 2): must be a number from 0.0001 to 1,000,000, not "5"',
        ),
        (
            "[budget]\nmaxDuration = -1",
            "budget.maxDuration (line 2): must be an integer from 1 to 31,536,000,000, not -1",
        ),
        (
            '[exec]\nsandbox = "bwrap"',
            'exec.sandbox (line 2): must be one of none, bubblewrap, not "bwrap"',
        ),
        ("[exec]\nsandbox = true", "exec.sandbox (line 2): must be one of none, bubblewrap, not "),
        ('[exec]\nnetwork = "no"', 'exec.network (line 2): must be true or false, not "no"'),
        ("perstackBaseSkillCommand = []", "perstackBaseSkillCommand (line 1): must name a program"),
        ('perstackBaseSkillCommand = [""]', "perstackBaseSkillCommand (line 1): must name a "),
        (
            'perstackBaseSkillCommand = ["a\\u0000"]',
            "perstackBaseSkillCommand (line 1): must not hold NUL characters",
        ),
        ('models."" = {}', 'models."" (line 1): has 1 to 255 printable characters'),
        ('models."\\u0007" = {}', 'models."\\x07" (line 1): has 1 to 255 printable characters'),
        (
            "models.m.contextWindow = 0",
            "models.m.contextWindow (line 1): must be an integer from 1 to 1,000,000,000, not 0",
        ),
        ("models.m.price = 3", "models.m.price (line 1): must be a table, not 3"),
        (
            "models.m.price = { input = 1 }",
            "models.m.price.output (line 1): must be given: USD for a million tokens",
        ),
        (
            "models.m.price = { input = -1, output = 1 }",
            "models.m.price.input (line 1): must be a number from 0 to 100,000, not -1",
        ),
    ],
)
def test_a_wrong_limit_is_refused_by_key_and_line(text: str, problem: str) -> None:
    line, *_ = refused_lines(text)
    assert line.startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[budgte]\nmaxTokens = 5", "budgte (line 1): unknown key; did you mean budget?"),
        ("[consenus]\nenabled = true", "consenus (line 1): unknown key; did you mean consensus?"),
        (
            "[budget]\nmaxTokns = 5",
            "budget.maxTokns (line 2): unknown key; did you mean maxTokens?",
        ),
        (
            "[budget]\nmax_cost_usd = 5",
            "budget.max_cost_usd (line 2): unknown key; did you mean maxCostUsd?",
        ),
        ('[exce]\nsandbox = "none"', "exce (line 1): unknown key; did you mean exec?"),
        (
            '[exec]\nsandbx = "bubblewrap"',
            "exec.sandbx (line 2): unknown key; did you mean sandbox?",
        ),
        (
            "[provider]\nbudget.maxTokens = 5",
            "provider.budget (line 2): has no effect here; write [budget] as a table of its own",
        ),
        (
            '[provider]\nexec.sandbox = "bubblewrap"',
            "provider.exec (line 2): has no effect here; write [exec] as a table of its own",
        ),
        (
            WRITER + 'sampling = "deny"',
            "experts.writer.sampling (line 3): has no effect here; write it into the table of an",
        ),
        (
            'elicitation = "deny"',
            "elicitation (line 1): has no effect here; write it into the table of an MCP skill",
        ),
        (
            WRITER + "[experts.writer.providerToolOptons.webSearch]\nmaxUses = 1",
            "experts.writer.providerToolOptons (line 3): unknown key; did you mean providerToolOpt",
        ),
        (
            WRITER + "[experts.writer.providerToolOptions.webSearch]\nallowedDomain = []",
            (
                "experts.writer.providerToolOptions.webSearch.allowedDomain (line 4): unknown key; "
                "did you mean allowedDomains?"
            ),
        ),
        (
            WRITER + '[experts.writer.skills."@perstack/base"]\nomits = ["exec"]',
            'experts.writer.skills."@perstack/base".omits (line 4): unknown key; did you mean omit',
        ),
        (
            "models.m.price = { input = 1, output = 1, chacheWrite = 2 }",
            "models.m.price.chacheWrite (line 1): unknown key; did you mean cacheWrite?",
        ),
    ],
)
def test_a_misspelt_or_misplaced_safeguard_refuses_the_file(text: str, problem: str) -> None:
    """C7: what would be off without a word is refused."""
    (line,) = refused_lines(text)
    assert line.startswith(problem)


def test_network_without_a_sandbox_is_told() -> None:
    (warning,) = warned("[exec]\nnetwork = false\n")
    assert warning == "exec.network (line 2): has no effect without a sandbox"


@pytest.mark.parametrize("key", ["maxDepth", "perstackApiBaseUrl", "models"])
def test_keys_that_slid_into_a_table_are_told_to_move_up(key: str) -> None:
    (warning,) = warned(f"[provider]\n{key} = 1\n")
    assert (
        f"provider.{key} (line 2): has no effect here: TOML puts keys below [provider]" in warning
    )


def test_a_heap_of_unknown_keys_is_refused_before_each_is_guessed_at() -> None:
    heap = "".join(f"kk{number} = 1\n" for number in range(1_001))
    assert refused_lines(WRITER + heap) == [
        "experts.writer (line 1): more than 1,000 unknown keys; remove what is not known"
    ]

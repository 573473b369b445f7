"""Mutated configuration files: each is read or refused in words, never with a traceback."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from perstack.config.load import LoadedConfig, parse_config
from perstack.config.report import ConfigWarning
from perstack.domain.expert import BASE_SKILL, InteractiveSkill
from perstack.domain.ids import ExpertKey
from perstack.errors import ConfigError

ROOT = Path(__file__).parents[2]
WIDE = b"""
model = "claude-haiku-5-5"
runtime = "local"
reasoningBudget = "medium"
maxSteps = 20
timeout = 60000
maxDepth = 5
envPath = [".env"]
perstackBaseSkillCommand = ["node", "base.js"]
[provider]
providerName = "openai"
[provider.setting]
baseUrl = "https://example.com/v1"
allowPrivate = true
api = "responses"
headers = { "X-Team" = "a", Other = 'b' }
[models."my-model"]
contextWindow = 8192
thinks = true
price = { input = 1, output = 2.5, cachedInput = 0.1 }
[consensus]
enabled = true
requireForRiskLevels = ["high"]
timeout = 60000
highRiskPatterns = ["deploy"]
reviewerMayApprove = "none"
[budget]
maxTokens = 100000
maxCostUsd = 2.5
maxDuration = 600000
[exec]
sandbox = "bubblewrap"
network = false
[driftDetection]
warningThreshold = 0.8
behavior = "prevent"
[resourceExhaustion]
autoTerminate = true
[resourceExhaustion.thresholds]
maxApiCalls = 7
[memory.vectorSearch]
provider = "hashed"
[slack]
webhookUrl = "${SLACK_WEBHOOK_URL}"
[github]
token = "${GITHUB_TOKEN}"
[notify]
command = ["notify-send", "Perstack"]
[experts."lead"]
version = "1.0.0-rc.1"
description = '''Leads.'''
instruction = \"\"\"
Lead the "others".
\"\"\"
delegates = ["@team/writer", "asker"]
tags = ["a", "b"]
minRuntimeVersion = "v1.0"
providerTools = ["webSearch"]
[experts."lead".providerToolOptions]
webSearch = { maxUses = 3, allowedDomains = ["*.example.com"] }
fileSearch = { vectorStoreIds = ["vs_1"], maxNumResults = 5 }
[experts."lead".skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
requireApproval = ["exec"]
[experts."lead".skills."web"]
type = "mcpStdioSkill"
command = "npx"
args = ["-y", "exa-mcp-server"]
requiredEnv = ["EXA_API_KEY"]
lazyInit = true
sampling = "deny"
elicitation = "deny"
[experts."lead".skills."remote"]
type = "mcpHttpSkill"
endpoint = "https://mcp.example.com/x"
headers = { X-Team = "a" }
headerEnv = { X-Api-Key = "MCP_KEY" }
bearerTokenEnv = "MCP_TOKEN"
allowPrivate = false
[experts."lead".skills."older"]
type = "mcpSseSkill"
endpoint = "http://127.0.0.1:3001/sse"
allowPrivate = true
[experts."@team/writer"]
instruction = "Write."
[experts.asker]
instruction = "Ask."
[experts.asker.skills.ask]
type = "interactiveSkill"
[experts.asker.skills.ask.tools.askUser]
description = "Asks"
inputJsonSchema = '{"type":"object","properties":{"q":{"type":"string"}}}'
"""
TOKENS = (
    b'"', b"'", b'"""', b"'''", b"[", b"]", b"[[", b"]]", b"{", b"}", b"=", b".", b",", b"#",
    b"\n", b"\r", b"\t", b"\0", b"\x1b[2J", b"\x7f", b"\xff", b"\xc2\x9b31m", b"\xe2\x80\xae",
    b"\\", b"\\u0000", b"\\u001b", b"\\uD800", b"\\U0010FFFF", b"true", b"nan", b"-inf", b"1e999",
    b"9" * 5000, b"0x" + b"f" * 5000, b"2020-01-01T00:00:00Z", b"99:99:99", b"a." * 200,
    b"[" * 1500, b"{a=" * 500, b"../../x", b"@", b"/", b"experts", b"consensus", b"type",
    b"[experts.lead]", b"delegates", b"lead", b"x" * 30_000, b"\xf0\x9f\x98\x80",
)  # fmt: skip


VALUES = (
    b"0", b"-1", b"1.5", b"nan", b"inf", b"true", b"false", b'""', b'"x"', b"'low'", b"[]", b"{}",
    b'["x"]', b"[1]", b'[""]', b"{ a = 1 }", b"2020-01-01", b"0x" + b"f" * 5000, b'"\\u001b[2J"',
    b'"\\u0000"', b'"' + b"x" * 30_000 + b'"', b'"mcpSseSkill"', b'["lead"]', b'"@a/b@1.0.0"',
    b'"http://10.0.0.1"', b'"https://[::1"', b'"https://127.1"', b'[{ type = "builtin" }]', b"[[]]",
    b'"mcpHttpSkill"', b'["xn--a"]', b'"deny"', b"1e-400", b"-0.0", b"99999999999999999999",
    b"{ input = 1 }", b'{ "\\u001b[2J" = "x" }', b'{ "" = {} }', b"'{'",
    b"'[" + b"[" * 9000 + b"'", b'"\xf0\x9f\x98\x80\xe2\x80\xae"',
)  # fmt: skip


def break_text(text: bytes, dice: random.Random) -> bytes:
    """Change bytes, tokens, lines or the length; most results are no TOML."""
    at = dice.randint(0, len(text))
    end = min(len(text), at + dice.choice((1, 4, 40, 400)))
    match dice.randrange(6):
        case 0:
            return text[:at] + bytes([dice.randrange(256)]) + text[at + 1 :]
        case 1:
            return text[:at] + dice.choice(TOKENS) + text[at:]
        case 2:
            return text[:at] + dice.choice(TOKENS) + text[end:]
        case 3:
            return text[:at] + text[end:]
        case 4:
            return text[:end] + text[at:end] + text[end:]
        case _:
            lines = text.split(b"\n")
            dice.shuffle(lines)
            return b"\n".join(lines)


def break_meaning(text: bytes, dice: random.Random) -> bytes:
    """Give a key another value, a value another key, or a table another name."""
    lines = text.split(b"\n")
    places = [place for place, line in enumerate(lines) if b" = " in line or line[:1] == b"["]
    place, other = dice.choice(places), dice.choice(places)
    key, mark, _ = lines[place].partition(b" = ")
    value = dice.choice(VALUES) if dice.random() < 0.8 else lines[other].partition(b" = ")[2]
    if mark and dice.random() < 0.8:
        lines[place] = key + mark + value
    elif mark:
        lines[place] = lines[other].partition(b" = ")[0] + mark + value
    else:
        lines[place] = key[:-1] + dice.choice((b"x]", b".x]", b'."@perstack/base"]', b".tools]"))
    return b"\n".join(lines)


def mutate(text: bytes, dice: random.Random) -> bytes:
    """Make one or two random changes of one kind."""
    change = dice.choice((break_text, break_meaning))
    for _ in range(dice.randint(1, 2)):
        text = change(text, dice)
    return text


def sentences(data: bytes) -> list[str]:
    """Return all that would be shown to the user about the file."""
    try:
        config = parse_config(Path("perstack.toml"), data)
    except ConfigError as error:
        return [*error.message.split("\n"), error.hint or "\0 no hint"]
    return [part for warning in config.warnings for part in spoken(warning)]


def spoken(warning: ConfigWarning) -> tuple[str, str]:
    return str(warning), warning.hint or ""


def fuzz(count: int, seed: int) -> Counter[str]:
    """Return how many mutants were accepted, no TOML, or TOML with wrong contents."""
    dice = random.Random(seed)
    seeds = (WIDE, (ROOT / "perstack.toml").read_bytes())
    outcomes: Counter[str] = Counter()
    for number in range(count):
        told = sentences(mutate(dice.choice(seeds), dice))
        for sentence in told:
            assert sentence.isprintable(), (seed, number, sentence[:400])
            assert len(sentence) < 1_000, (seed, number, len(sentence))
        refused = told and told[0].startswith("perstack.toml")
        wrong = told and told[0].endswith("Validation failed:")
        outcomes["wrong" if wrong else "no TOML" if refused else "accepted"] += 1
    return outcomes


def test_the_seeds_of_the_mutants_are_good_files() -> None:
    assert sentences(WIDE) == []


def test_500_mutants_are_read_or_refused_in_words() -> None:
    outcomes = fuzz(500, seed=20)
    assert min(outcomes["accepted"], outcomes["no TOML"], outcomes["wrong"]) >= 50


PLACE = re.compile(
    r"line \d+|at its end|is nested too deeply|is larger than|and \d+ more|Validation failed:$"
)


def places_missing(count: int, seed: int) -> list[str]:
    """Return the refusals that do not name the file, or a line of it for each problem."""
    dice = random.Random(seed)
    missing: list[str] = []
    for _ in range(count):
        try:
            parse_config(Path("perstack.toml"), mutate(WIDE, dice))
        except ConfigError as error:
            first, *problems = error.message.split("\n")
            named = first.startswith("perstack.toml") and bool(error.hint)
            if not named or not all(PLACE.search(line) for line in (first, *problems)):
                missing.append(error.message)
    return missing


def test_each_refusal_of_300_mutants_names_the_file_and_the_place() -> None:
    """C2."""
    assert places_missing(300, seed=22) == []


@pytest.mark.long
@pytest.mark.timeout(600)
def test_each_refusal_of_5_000_mutants_names_the_file_and_the_place() -> None:
    """C2."""
    assert places_missing(5_000, seed=23) == []


@pytest.mark.long
@pytest.mark.timeout(600)
def test_10_000_mutants_are_read_or_refused_in_words() -> None:
    fuzz(10_000, seed=21)


GATES: dict[bytes, Callable[[LoadedConfig], bool]] = {
    b"\nenabled = true\n": lambda config: config.settings.consensus.enabled,
    b"\nmaxTokens = 100000\n": lambda config: config.settings.budget.max_tokens == 100_000,
    b"\nmaxCostUsd = 2.5\n": lambda config: config.settings.budget.max_cost_usd == 2.5,
    b"\nmaxDuration = 600000\n": lambda config: config.settings.budget.max_duration == 600_000,
    b'\nsandbox = "bubblewrap"\n': lambda config: config.settings.exec.sandbox == "bubblewrap",
    b'\nreviewerMayApprove = "none"\n':
        lambda config: config.settings.consensus.reviewer_may_approve is None,
    b'\nbehavior = "prevent"\n':
        lambda config: config.settings.coordination.drift.behavior == "prevent",
    b"\nautoTerminate = true\n":
        lambda config: config.settings.coordination.resources.auto_terminate,
    b"\nmaxApiCalls = 7\n":
        lambda config: config.settings.coordination.resources.thresholds.max_api_calls == 7,
    b'\nrequireApproval = ["exec"]\n': lambda config: of_lead(config, BASE_SKILL)[0] == ("exec",),
    b'\nsampling = "deny"\n': lambda config: of_lead(config, "web")[1] == "deny",
}  # fmt: skip


def of_lead(config: LoadedConfig, skill: str) -> tuple[tuple[str, ...], str | None]:
    """Return what waits for approval in a skill of the lead, and what its server may sample."""
    found = config.experts[ExpertKey("lead")].skills[skill]
    assert not isinstance(found, InteractiveSkill)
    return found.require_approval, getattr(found, "sampling", None)


def assert_gates_stand(data: bytes, named: bytes) -> None:
    """Assert that each gate which `named` holds is on, if `data` is accepted at all."""
    try:
        config = parse_config(Path("perstack.toml"), data)
    except ConfigError:
        return
    for line, is_on in GATES.items():
        if line in named:
            assert is_on(config), (line, data)


def test_the_gates_of_the_seed_are_on() -> None:
    assert all(line in WIDE for line in GATES)
    assert all(is_on(parse_config(Path("perstack.toml"), WIDE)) for is_on in GATES.values())


@pytest.mark.parametrize("length", range(0, len(WIDE), 37))
def test_a_half_written_file_never_turns_a_gate_off_that_it_names(length: int) -> None:
    """C7: whatever a cut leaves, a file that is accepted and names the gate has it on."""
    assert_gates_stand(WIDE[:length], WIDE[:length])


@pytest.mark.parametrize("line", GATES)
def test_a_gate_with_any_other_name_refuses_the_file(line: bytes) -> None:
    """C7: one letter lost, doubled, changed or swapped, anywhere in the gate's own key."""
    key, mark, value = line.partition(b" = ")
    name = key.strip()
    spellings = {name[:at] + name[at + 1 :] for at in range(len(name))}
    spellings |= {name[:at] + name[at : at + 1] + name[at:] for at in range(len(name))}
    spellings |= {
        name[:at] + name[at + 1 : at + 2] + name[at : at + 1] + name[at + 2 :]
        for at in range(len(name) - 1)
    }
    spellings |= {name.lower(), name.upper(), name.replace(b"x", b"x_"), name + b"s"}
    for spelling in spellings - {name}:
        data = WIDE.replace(line, b"\n" + spelling + mark + value)
        with pytest.raises(ConfigError):
            parse_config(Path("perstack.toml"), data)


@pytest.mark.parametrize(
    "table", [b"consensus", b"budget", b"exec", b"driftDetection", b"resourceExhaustion"]
)
def test_a_table_of_gates_with_any_other_name_refuses_the_file(table: bytes) -> None:
    spellings = {table[:at] + table[at + 1 :] for at in range(len(table))}
    spellings |= {table[:at] + table[at : at + 1] + table[at:] for at in range(len(table))}
    spellings |= {table + b"s", b"x" + table, table.upper()}
    for spelling in spellings - {table}:
        data = WIDE.replace(b"[" + table + b"]", b"[" + spelling + b"]")
        with pytest.raises(ConfigError, match="did you mean " + table.decode()):
            parse_config(Path("perstack.toml"), data)


@pytest.mark.parametrize("value", ['"true"', "-1", "0", "[]", "{}", "nan", "inf", "2020-01-01"])
@pytest.mark.parametrize("line", GATES)
def test_one_value_out_of_range_refuses_the_whole_file(line: bytes, value: str) -> None:
    """C7: no value falls back to a default."""
    key, mark, _ = line.partition(b" = ")
    if (key, value) == (b"\nrequireApproval", "[]"):
        return
    text = WIDE.replace(line, key + mark + value.encode() + b"\n")
    name = key.strip().decode()
    with pytest.raises(ConfigError, match=rf"\.{name} \(line \d+\): must be "):
        parse_config(Path("perstack.toml"), text)

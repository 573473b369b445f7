"""Mutated configuration files: each is read or refused in words, never with a traceback."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from perstack.config.load import parse_config
from perstack.config.report import ConfigWarning
from perstack.errors import ConfigError

ROOT = Path(__file__).parents[2]
WIDE = b"""
model = "claude-haiku-5-5"
runtime = "local"
reasoningBudget = "medium"
maxSteps = 20
timeout = 60000
envPath = [".env"]
[provider]
providerName = "openai"
[provider.setting]
baseUrl = "https://example.com/v1"
headers = { "X-Team" = "a", Other = 'b' }
[consensus]
enabled = true
requireForRiskLevels = ["high"]
timeout = 60000
highRiskPatterns = ["deploy"]
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
    b'"http://10.0.0.1"', b"'{'", b"'[" + b"[" * 9000 + b"'", b'"\xf0\x9f\x98\x80\xe2\x80\xae"',
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


@pytest.mark.long
@pytest.mark.timeout(600)
def test_10_000_mutants_are_read_or_refused_in_words() -> None:
    fuzz(10_000, seed=21)


@pytest.mark.parametrize("length", range(0, len(WIDE), 37))
def test_a_half_written_file_never_turns_a_gate_off_that_it_names(length: int) -> None:
    """C7: whatever a cut leaves, a file that is accepted and names the gate has it on."""
    data = WIDE[:length]
    try:
        config = parse_config(Path("perstack.toml"), data)
    except ConfigError:
        return
    if b"enabled = true" in data:
        assert config.settings.consensus.enabled


@pytest.mark.parametrize("value", ['"true"', "1", "[]", "{}", "nan", "2020-01-01"])
def test_one_value_out_of_range_refuses_the_whole_file(value: str) -> None:
    """C7: no value falls back to a default."""
    text = WIDE.replace(b"enabled = true", b"enabled = " + value.encode())
    with pytest.raises(ConfigError, match=r"consensus\.enabled \(line 14\): must be true or false"):
        parse_config(Path("perstack.toml"), text)

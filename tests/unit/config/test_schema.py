"""The editors' schema against the reader: both say the same of the same file."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Final, cast

import hypothesis.strategies as st
import pytest
import tomlkit
from hypothesis import given, settings
from jsonschema import Draft4Validator

from perstack.config.load import parse_config
from perstack.config.schema import config_schema, schema_text, shipped_schema
from perstack.errors import ConfigError
from tests.unit.config.reading import WRITER, read

ROOT: Final = Path(__file__).parents[3]
SCHEMA: Final[Any] = Draft4Validator(config_schema())
SKILL: Final = WRITER + "[experts.writer.skills.web]\n"
BASE: Final = WRITER + '[experts.writer.skills."@perstack/base"]\n'
STDIO: Final = SKILL + 'type = "mcpStdioSkill"\n'
HTTP: Final = SKILL + 'type = "mcpHttpSkill"\n'
ASK: Final = SKILL + 'type = "interactiveSkill"\n'
Q: Final = """tools.q.inputJsonSchema = '{"type":"object"}'\n"""
LONG: Final = "x" * 2_049


def reader_says(text: str) -> bool:
    """Tell whether the reader takes the file, without a word of keys it does not know."""
    try:
        config = parse_config(Path("perstack.toml"), text.encode())
    except ConfigError:
        return False
    loud = ("unknown key", "has no effect here", "not started here")
    return not any(mark in warning.message for warning in config.warnings for mark in loud)


def schema_says(text: str) -> bool:
    return bool(SCHEMA.is_valid(tomllib.loads(text)))


def test_the_shipped_file_is_what_the_generator_writes() -> None:
    assert shipped_schema() == schema_text(), "run python -m perstack.config.schema"
    shipped = resources.files("perstack.config").joinpath("perstack.schema.json")
    assert json.loads(shipped.read_text()) == config_schema()


def test_it_is_a_schema_of_draft_4_that_explains_every_key() -> None:
    Draft4Validator.check_schema(config_schema())
    unexplained = [
        path for path, part in every_part(config_schema(), ()) if not part.get("description")
    ]
    assert unexplained == []


def every_part(part: dict[str, Any], path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    """Return every key's schema and where it stands; `*` is any name."""
    found: list[tuple[tuple[str, ...], Any]] = []
    for key, value in part.get("properties", {}).items():
        found += [((*path, key), value), *every_part(value, (*path, key))]
    for value in part.get("patternProperties", {}).values():
        found += every_part(value, (*path, "*"))
    for value in part.get("oneOf", ()):
        found += every_part(value, path)
    if isinstance(part.get("items"), dict):
        found += every_part(part["items"], path)
    return found


def test_it_takes_the_example_team() -> None:
    for path in (ROOT / "perstack.toml", *ROOT.glob("core/perstack/demo/**/perstack.toml")):
        assert schema_says(path.read_text()), path


def test_the_example_team_names_it_for_editors() -> None:
    first = (ROOT / "perstack.toml").read_text().splitlines()[0]
    directive, _, path = first.partition(" ")
    assert directive == "#:schema"
    assert json.loads((ROOT / path).read_text()) == config_schema()


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda path: path.name)
def test_it_takes_every_example_of_the_documentation_that_the_reader_takes(page: Path) -> None:
    examples = re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    for example in examples:
        assert schema_says(example) >= reader_says(example), example


@pytest.mark.parametrize(
    "text",
    [
        "",
        WRITER,
        'model = ""',
        'model = "m"',
        'runtime = "local"',
        'runtime = "docker"',
        'runtime = "podman"',
        "reasoningBudget = 0",
        "reasoningBudget = 1.0",
        'reasoningBudget = "hgih"',
        "reasoningBudget = true",
        "maxSteps = 0",
        "maxSteps = 1_000_000",
        "maxSteps = 1_000_001",
        "maxSteps = 5.0",
        "maxSteps = true",
        "maxDepth = 100",
        "maxDepth = 101",
        "timeout = 1e3",
        'envPath = [""]',
        "envPath = []",
        f'envPath = ["{LONG}"]',
        "perstackBaseSkillCommand = []",
        'perstackBaseSkillCommand = ["a", ""]',
        'perstackBaseSkillCommand = ["", "a"]',
        'perstackApiBaseUrl = "ftp://x"',
        'perstackApiBaseUrl = "https://x.example"',
        "memory.enabled = true",
        "slack = 3",
        "qqq = 1",
        "[budget]\nmaxTokens = 1",
        "[budget]\nmaxTokens = 0",
        "[budget]\nmaxCostUsd = 1",
        "[budget]\nmaxCostUsd = 0",
        "[budget]\nmaxTokns = 1",
        '[exec]\nsandbox = "bubblewrap"',
        '[exec]\nsandbox = "docker"',
        "[models.m]\nthinks = false",
        "[models.m]\nprice = { input = 1 }",
        "[models.m]\nprice = { input = 1, output = 0.5, cachedInput = 0 }",
        'models."" = {}',
        'models."\\u0007" = {}',
        '[provider]\nproviderName = "ollama"',
        '[provider]\nproviderName = "groq"',
        '[provider.setting]\nbaseUrl = "https://x.example"',
        '[provider.setting]\nbaseUrl = "file:///x"',
        '[provider.setting]\napi = "chat"\nname = "n"',
        '[provider.setting]\nregion = "a/b"',
        '[provider.setting]\nlocation = "europe-west4"',
        '[provider.setting]\nheaders = { "a b" = "c" }',
        '[provider.setting]\nheaders = { a = "é" }',
        "[provider.setting]\npace = 1001",
        '[provider.setting]\napiKey = "x"',
        '[consensus]\nenabled = true\nrequireForRiskLevels = ["low"]',
        '[consensus]\nrequireForRiskLevels = ["lwo"]',
        "[consensus]\ntimeout = 29_999",
        "[consensus]\nenabeld = true",
        '[notify]\ncommand = "say it"',
        "[notify]\ncommand = []",
        '[notify]\ncommand = ["", "a"]',
        '[notify]\nwebhook = "x"',
        "[experts.a]",
        '[experts.A]\ninstruction = "x"',
        '[experts."@o/a"]\ninstruction = "x"',
        f'[experts.{"a" * 256}]\ninstruction = "x"',
        '[experts.a]\ninstruction = ""',
        '[experts.a]\ninstruction = "x"\nversion = "1.0"',
        '[experts.a]\ninstruction = "x"\nversion = "1.0.0-rc.1+b"',
        '[experts.a]\ninstruction = "x"\nversion = "٣.0.0"',
        f'[experts.a]\ninstruction = "x"\ndescription = "{LONG}"',
        '[experts.a]\ninstruction = "x"\ntags = ["X"]',
        f'[experts.a]\ninstruction = "x"\ntags = {["x"] * 9}',
        '[experts.a]\ninstruction = "x"\ndelegates = ["B"]',
        '[experts.a]\ninstruction = "x"\nminRuntimeVersion = "v1.0"',
        '[experts.a]\ninstruction = "x"\nminRuntimeVersion = "x"',
        '[experts.a]\ninstruction = "x"\nproviderTools = ["webSearch"]',
        '[experts.a]\ninstruction = "x"\nproviderSkills = [{ type = "builtin", skillId = "pdf" }]',
        '[experts.a]\ninstruction = "x"\nproviderSkills = [{ type = "builtin" }]',
        '[experts.a]\ninstruction = "x"\nproviderSkills = [{ type = "builtin", skillId = "odt" }]',
        '[experts.a]\ninstruction = "x"\nproviderToolOptions.webSearch.maxUses = 0',
        '[experts.a]\ninstruction = "x"\nproviderToolOptions.webSearch.allowedDomains = ["xn--a"]',
        '[experts.a]\ninstruction = "x"\nmodel = "x"',
        SKILL,
        SKILL + 'type = "mcp"',
        STDIO,
        STDIO + 'command = "npx"',
        STDIO + 'command = "npx"\npackageName = "a"',
        STDIO + 'command = "npx"\npackageName = ""',
        STDIO + 'command = "npx"\nargs = ["a", ""]',
        STDIO + 'command = "npx"\nargs = []',
        STDIO + 'command = "npx"\npackageName = "a"\nargs = ["b"]',
        STDIO + 'command = "npx"\npackageName = "a"\nargs = []',
        STDIO + 'command = "npx"\npackageName = ""\nargs = ["b"]',
        STDIO + 'command = ""\npackageName = "a"',
        STDIO + 'command = "c"\npackageName = "a"\nlazyInit = "no"',
        STDIO + 'command = "c"\npackageName = "a"\nallowedDomains = ["*.x.org", "y"]',
        STDIO + 'command = "c"\npackageName = "a"\nallowedDomains = ["x.org."]',
        STDIO + 'command = "c"\npackageName = "a"\nallowedDomains = ["a.xn--p1ai"]',
        STDIO + 'command = "c"\npackageName = "a"\nsampling = "allow"\nelicitation = "deny"',
        STDIO + 'command = "c"\npackageName = "a"\nelicitation = "allow"',
        STDIO + 'command = "c"\npackageName = "a"\nendpoint = "https://x.example"',
        STDIO + 'command = "c"\npackageName = "a"\nrequiredEnv = ["A B"]',
        HTTP,
        HTTP + 'endpoint = "https://x.example"',
        HTTP + 'endpoint = "https://x.example"\nbearerTokenEnv = "T"\nheaderEnv = { X-A = "B" }',
        HTTP + 'endpoint = "https://x.example"\nheaderEnv = { X-A = "$B" }',
        HTTP + 'endpoint = "https://x.example"\ncommand = "npx"',
        HTTP + 'endpoint = "x"',
        ASK,
        ASK + "tools = {}",
        ASK + Q,
        ASK + Q + "tools.q.name = 3",
        ASK + Q + "pick = ['q']",
        ASK + "tools.q.description = 'x'",
        BASE,
        BASE + 'type = "baseSkill"\nomit = ["exec"]',
        BASE + 'type = "mcpStdioSkill"\ncommand = "npx"\npackageName = "@perstack/base@1.0.0"',
        BASE + 'type = "mcpHttpSkill"\nendpoint = "https://x.example"',
        BASE + "omits = ['exec']",
        WRITER + f'[experts.writer.skills."{"s" * 256}"]\ntype = "mcpStdioSkill"\ncommand = "a"\n'
        'packageName = "b"',
        "experts = []",
    ],
)
def test_schema_and_reader_say_the_same(text: str) -> None:
    assert schema_says(text) == reader_says(text)


@pytest.mark.parametrize(
    "text",
    [
        '[provider.setting]\nbaseUrl = "http://x.example"',
        '[provider.setting]\nbaseUrl = "https://10.0.0.1"',
        HTTP + 'endpoint = "https://me@x.example"',
        "[budget]\nmaxCostUsd = nan",
        'envPath = ["\\u0000"]',
        '[notify]\ncommand = "\'"',
        '[experts.a]\ninstruction = "x"\ndelegates = ["a"]',
        ASK + "tools.q.inputJsonSchema = '{'",
        BASE + 'requireApproval = ["x"]',
        BASE + 'omit = ["exce"]',
    ],
)
def test_what_only_the_reader_can_see_is_known(text: str) -> None:
    assert schema_says(text)
    assert not reader_says(text)


TABLES: Final[dict[tuple[str, ...], str]] = {
    (): "",
    ("provider",): "[provider]\n",
    ("provider", "setting"): "[provider.setting]\n",
    ("models", "*"): "[models.m]\n",
    ("models", "*", "price"): "[models.m.price]\ninput = 1\noutput = 1\n",
    ("budget",): "[budget]\n",
    ("exec",): "[exec]\n",
    ("consensus",): "[consensus]\n",
    ("notify",): "[notify]\n",
    ("experts", "*"): WRITER,
    ("experts", "*", "providerToolOptions"): WRITER + "[experts.writer.providerToolOptions]\n",
    ("experts", "*", "skills", "@perstack/base"): BASE
    + 'type = "mcpStdioSkill"\ncommand = "npx"\npackageName = "@perstack/base@1.0.0"\n',
}


@pytest.mark.parametrize("path", TABLES, ids=".".join)
def test_the_schema_has_the_keys_that_the_reader_knows(path: tuple[str, ...]) -> None:
    known = known_keys(TABLES[path])
    keys = {at[-1] for at, _ in every_part(config_schema(), ()) if at[:-1] == path}
    assert keys == known


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, STDIO + 'command = "a"\nargs = ["b"]\n'),
        (1, SKILL + 'type = "mcpSseSkill"\nendpoint = "https://x.example"\n'),
        (2, HTTP + 'endpoint = "https://x.example"\n'),
        (3, ASK + Q),
    ],
)
def test_each_kind_of_skill_has_the_keys_that_the_reader_knows(number: int, text: str) -> None:
    schema: Any = config_schema()
    (expert,) = schema["properties"]["experts"]["patternProperties"].values()
    (kinds,) = expert["properties"]["skills"]["patternProperties"].values()
    assert set(kinds["oneOf"][number]["properties"]) == known_keys(text)


def known_keys(text: str) -> set[str]:
    """Return what the reader lists as known when it meets a key that resembles none."""
    (hint,) = [
        one.hint for one in read(text + "zzz = 1\n").warnings if one.message == "unknown key"
    ]
    assert hint is not None
    return set(hint.removeprefix("known here: ").split(", "))


# ------------------------------------------------------------------ any value at any key

WHOLE: Final[dict[str, Any]] = tomllib.loads(
    """
model = "m"
maxSteps = 5
maxDepth = 5
reasoningBudget = "low"
envPath = [".env"]
[provider]
providerName = "openai"
[provider.setting]
organization = "o"
api = "chat"
headers = { a = "b" }
[models.m]
contextWindow = 5
thinks = true
price = { input = 1, output = 1 }
[budget]
maxTokens = 5
maxCostUsd = 5
[exec]
sandbox = "bubblewrap"
network = true
[consensus]
enabled = true
requireForRiskLevels = ["low"]
timeout = 60000
[experts.a]
instruction = "x"
description = "x"
version = "1.0.0"
tags = ["x"]
providerTools = ["webSearch"]
[experts.a.providerToolOptions.webSearch]
maxUses = 5
allowedDomains = ["x.org"]
[experts.a.skills."@perstack/base"]
type = "baseSkill"
omit = ["exec"]
requireApproval = ["deleteFile"]
[experts.a.skills.web]
type = "mcpHttpSkill"
endpoint = "https://x.example"
lazyInit = true
sampling = "ask"
elicitation = "ask"
pick = ["x"]
headerEnv = { X-A = "B" }
bearerTokenEnv = "T"
[experts.a.skills.run]
type = "mcpStdioSkill"
command = "npx"
args = ["x"]
requiredEnv = ["A"]
rule = "r"
"""
)
# The reader alone tells addresses apart, and knows the names of the base tools.
READERS_OWN: Final = {"endpoint", "omit", "requireApproval"}


def places(value: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for key, inner in value.items():
        found.append((*path, key))
        if isinstance(inner, dict):
            found += places(cast("dict[str, Any]", inner), (*path, key))
    return found


WORDS: Final = st.sampled_from(
    ["", "x", "low", "ask", "deny", "allow", "none", "1.0.0", "X", "a b", "-", "x.org", "é", "\x1b"]
)
VALUES: Final = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-2, 130),
        st.sampled_from([29_999, 30_000, 10**6, 10**6 + 1, 10**12, 10**12 + 1, 2**63 - 1]),
        st.floats(-1, 2_000, allow_nan=False),
        WORDS,
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6),
        st.dates(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=9),
        st.dictionaries(st.sampled_from(["a", "X-A", "a b", "type", "input"]), inner, max_size=2),
    ),
    max_leaves=6,
)


def with_value(path: tuple[str, ...], value: object) -> str:
    raw = json.loads(json.dumps(WHOLE))
    table = raw
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    return tomlkit.dumps(raw)


def test_the_whole_file_is_good() -> None:
    assert reader_says(tomlkit.dumps(WHOLE))
    assert schema_says(tomlkit.dumps(WHOLE))


@settings(max_examples=200, deadline=None)
@given(
    path=st.sampled_from([at for at in places(WHOLE) if at[-1] not in READERS_OWN]), value=VALUES
)
def test_any_value_at_any_key_is_taken_by_both_or_by_none(
    path: tuple[str, ...], value: object
) -> None:
    text = with_value(path, value)
    assert schema_says(text) == reader_says(text), text


def test_the_documentation_names_every_key() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    keys = {at[-1] for at, _ in every_part(config_schema(), ())}
    assert (
        sorted(key for key in keys if not re.search(rf"[`\[ ]{re.escape(key)}[`\]. ]", page)) == []
    )

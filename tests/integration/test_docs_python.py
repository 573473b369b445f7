"""Each example of docs/python.md, run as it stands there; the model is scripted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

import perstack
from tests.fakes.github import TOKEN, fake_github, issue

PAGE: Final = (Path(__file__).parents[2] / "docs" / "python.md").read_text()
# Under which heading an example stands; the first one stands under the title.
EXAMPLES: Final = {
    section.partition("\n")[0]: code
    for section in re.split(r"^#+ ", PAGE, flags=re.MULTILINE)
    for code in re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
}
PROVIDER: Final = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
"""
(SHOWN,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
TOML: Final = PROVIDER + SHOWN
SCENARIO: Final = """
[[turns]]
expert = "chat"
text = "Hello yourself"
[[turns]]
expert = "coder"
after = "Recorded."
text = "Handed in."
[[turns]]
expert = "coder"
after = "[HIGH] It does nothing"
calls = [{ tool = "submitCode", args = { code = "def half(x): return x / 2" } }]
[[turns]]
expert = "coder"
calls = [{ tool = "submitCode", args = { code = "def half(x): ..." } }]
[[turns]]
expert = "adversarial"
after = "Recorded."
text = "Reviewed."
[[turns]]
expert = "adversarial"
after = "x / 2"
calls = [{ tool = "submitVerdict", args = { verdict = "APPROVE", summary = "Sound." } }]
[[turns]]
expert = "adversarial"
[[turns.calls]]
tool = "submitVerdict"
[turns.calls.args]
verdict = "REJECT"
summary = "Nothing is there."
issues = [{ severity = "HIGH", title = "It does nothing", requiredFix = "Divide." }]
[[turns]]
expert = "greeter"
turn = 1
calls = [{ tool = "greet", args = { name = "Ana" } }]
[[turns]]
expert = "greeter"
after = "Hello, Ana"
text = "She is greeted."
[[turns]]
turn = 2
text = "And on the garden"
[[turns]]
text = "Rain on the tin roof"
"""
PLUGIN: Final = """
def greet(args):
    return f"Hello, {args['name']}"

plugin = {
    "agents": [{"type": "greeter", "name": "Greeter", "description": "Greets.",
                "systemPrompt": "Greet.", "capabilities": []}],
    "tools": [{"name": "greet", "description": "Greets.", "handler": greet,
               "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}],
}
"""
PRINTS: Final = {
    "The coordination core from Python": "bob says: Rain on the tin roof\n",
    "Configuration": "True ()\n- agents.maxConcurrent (line 27): must be an integer from 1 to 20, "
    "not 200\n2\n",
    "Memory": "[('singleton', 'fts')]\nUse one for the config\n1 task completed\n",
    "Agents": "('write-code', 'edit-code', 'refactor', 'debug', 'implement-features')\n"
    "And on the garden\n[('ann', 'completed')]\n",
    "Providers": "Hello yourself 4\n512 numbers\n",
    "Task queue, message bus, coordinator": "[('A line', 8)]\n0 left\nRain on the tin roof\n"
    "ana {'status': 'ready'}\n",
    "Workflows": "now: inventory\nPASS phases\nFAIL 3\n",
    "Plugins": "loaded ('greeter',) ('greet',)\n['greeter']\nShe is greeted.\n",
    "Hooks": "task of writer completed\ndocuments checked\n",
    "Resource limits": "1 normal\npaused: Too much for today\n1 tracked\n",
    "Review loops": "start iteration review fix iteration review approved complete \n"
    "approved after 2 reviews: def half(x): return x / 2\n",
    "Drift": "True 1.0\nTask creation prevented due to semantic drift\n2 prevented\n",
    "Consensus": "True Risk level 'high' at depth 1 requires consensus\ndevops pending\n",
    "Identities": "dormant\n['retired', 'deactivated', 'spawned', 'activated', 'created']\n",
    "Projects and specifications": "Login\n",
    "GitHub, status and health": "7 Issue 7\nhealthy\nready\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "perstack.toml").write_text(TOML)
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "guide.md").write_text("# Guide\n\nSee `src/gone.py`, [this](no.md).\n")
    greeter = tmp_path / "plugins" / "greeter"
    greeter.mkdir(parents=True)
    (greeter / "plugin.toml").write_text(
        'name = "greeter"\nversion = "1.0.0"\nmodule = "plugin"\nentry = "plugin"\n'
    )
    (greeter / "plugin.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    return tmp_path


@pytest.mark.parametrize("heading", EXAMPLES)
def test_the_example_runs(folder: Path, capsys: pytest.CaptureFixture[str], heading: str) -> None:
    with fake_github() as github:
        github.issues.append(issue(7))
        settings = (
            f'[github]\nenabled = true\ntoken = "${{GITHUB_TOKEN}}"\nbaseUrl = "{github.url}"\n'
        )
        with (folder / "perstack.toml").open("a") as file:
            file.write(settings)
        exec(compile(EXAMPLES[heading], f"docs/python.md: {heading}", "exec"), {})
    assert capsys.readouterr().out == PRINTS[heading]


@pytest.mark.long
@pytest.mark.usefixtures("folder")
def test_the_examples_run_one_after_the_other_in_one_folder_and_once_more() -> None:
    with fake_github() as github:
        settings = (
            f'[github]\nenabled = true\ntoken = "${{GITHUB_TOKEN}}"\nbaseUrl = "{github.url}"\n'
        )
        with Path("perstack.toml").open("a") as file:
            file.write(settings)
        for heading, code in [*EXAMPLES.items()] * 2:
            exec(compile(code, f"docs/python.md: {heading}", "exec"), {})


def test_every_group_of_the_page_has_an_example_but_the_one_that_is_not_there() -> None:
    headings = re.findall(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    assert set(headings) - set(EXAMPLES) == {"MCP server"}
    assert set(PRINTS) == set(EXAMPLES)


def test_every_name_of_the_package_that_the_page_shows_is_there() -> None:
    shown = set(re.findall(r"\bperstack\.([A-Za-z_]+)\b(?!\.(?:toml|md))", PAGE))
    packages = {"toml", "domain", "ports", "services"}
    assert shown - packages <= set(perstack.__all__)

from __future__ import annotations

import pytest

from perstack.config.diff import diff_configs
from tests.unit.config.reading import WRITER, read


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("", "# note", ()),
        (WRITER, WRITER + 'delegates = []\ntags = []\nversion = "1.0.0"\n', ()),
        ('model = "a"', 'model = "b"', ("model a → b",)),
        (
            "",
            '[provider]\nproviderName = "openai"',
            ("model claude-sonnet-5-5 → gpt-5.5", "provider anthropic → openai"),
        ),
        (
            "",
            '[provider.setting]\nbaseUrl = "https://x.org"\nheaders = { a = "b" }',
            ("provider changed: baseUrl, headers",),
        ),
        ("", "maxSteps = 5\ntimeout = 6", ("maxSteps 100 → 5", "timeout 300000 → 6")),
        ("", 'reasoningBudget = "high"', ("reasoningBudget low → high",)),
        (
            "",
            "[consensus]\nenabled = true\nmaxDepth = 2",
            ("consensus changed: enabled, maxDepth",),
        ),
        ("", '[notify]\ncommand = ["a"]', ("notify changed: command",)),
        ("", 'envPath = ["x"]', ("envPath changed",)),
        (WRITER, "", ("writer removed",)),
        (
            WRITER + "[experts.b]\ninstruction = '1'",
            WRITER + "[experts.c]\ninstruction = '1'",
            ("c new", "b removed"),
        ),
        (
            WRITER,
            (
                '[experts.writer]\ninstruction = "W"\ndelegates = ["b"]\n[experts.b]\n'
                'instruction = "x"'
            ),
            ("writer changed: instruction, delegates", "b new"),
        ),
        (
            WRITER,
            WRITER + '[experts.writer.skills."@perstack/base"]\nrequireApproval = ["exec"]',
            ("writer changed: skills",),
        ),
    ],
)
def test_differences_are_short_phrases(old: str, new: str, changes: tuple[str, ...]) -> None:
    assert diff_configs(read(old), read(new)) == changes

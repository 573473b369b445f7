"""Which model an Expert is listed with where a program executes it."""

from __future__ import annotations

from pathlib import Path

from perstack.config.load import load_config
from perstack_tui.local.definitions import summaries_of
from perstack_tui.ports.gateway import DefinitionsUpdate
from perstack_tui.state.definition_words import definition_lines

TEAM = """
[experts.lead]
instruction = "Lead."
[experts.coder]
instruction = "Code."
runtime = "codex"
"""


def test_an_expert_of_a_program_is_listed_with_the_programs_model(tmp_path: Path) -> None:
    path = tmp_path / "perstack.toml"
    path.write_text(TEAM)
    lead, coder = summaries_of(load_config(path))
    shown = DefinitionsUpdate(path=path, model="claude-sonnet-5-5", experts=(lead, coder))
    assert (lead.model, coder.model) == ("", "codex:default")
    texts = ["".join(text for text, _ in line.left) for line in definition_lines(coder, shown, 60)]
    assert any(text.startswith("model") and "codex:default" in text for text in texts)
    assert not any("claude-sonnet-5-5" in text for text in texts)
    assert any("runtime" in text for text in texts)

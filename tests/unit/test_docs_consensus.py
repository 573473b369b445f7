"""What docs/consensus.md says of the reviewer's tool."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from perstack.domain.review_brief import SUBMIT_SCHEMA
from perstack.providers.scenario import load_scenario

PAGE: Final = (Path(__file__).parents[2] / "docs" / "consensus.md").read_text()


def test_every_argument_of_the_verdict_is_told() -> None:
    table = PAGE.partition("| argument of `submitReview` |")[2].partition("\n\n")[0]
    told = {name: "required" in rest for name, rest in re.findall(r"\n\| `(\w+)` \|(.*)", table)}
    properties, required = SUBMIT_SCHEMA["properties"], SUBMIT_SCHEMA["required"]
    assert isinstance(properties, dict)
    assert isinstance(required, list)
    assert told == {name: name in required for name in properties}


def test_the_scripted_reviewer_is_a_scenario(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(\[\[turns\]\].*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "scenario.toml").write_text(text)
    first, second = load_scenario(tmp_path / "scenario.toml").turns
    assert [call.tool for call in first.calls] == ["submitReview"]
    assert second.calls == ()

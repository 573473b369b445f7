"""An Expert's card in windows of any width."""

from __future__ import annotations

import re

import pytest

from perstack.domain.registry import VersionList
from perstack_tui.ports.registry import Card
from perstack_tui.state.lines import Line
from perstack_tui.state.registry import card_lines
from perstack_tui.text import width_of
from tests.fakes.catalog import published


def said(line: Line) -> str:
    return "".join(text for text, _ in line.left)


@pytest.mark.parametrize("width", [14, 20, 24, 25, 30, 76])
def test_what_names_an_expert_is_whole_in_windows_of_any_width(width: int) -> None:
    expert = published("@acme/a-very-long-name-of-one", owner="acme-and-sons")
    url = "https://registry.example.org/of/ours"
    lines = [said(each) for each in card_lines(Card(url, expert, VersionList(versions=())), width)]
    above = lines[: lines.index("Delegates")]
    assert max(map(width_of, above)) <= width
    whole = re.sub(r"\s+", "", "".join(above))
    for part in (expert.key, "acme-and-sons", url, expert.definition.integrity, "✓available"):
        assert part in whole

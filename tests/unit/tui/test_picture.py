"""Pictures of the screen hold no secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.errors import UsageError
from perstack_tui.picture import MASK, PICTURES, save_picture, without_secrets

ENV = {"MY_API_KEY": "sk-very&secret-0123456789", "HOME": "/home/ana"}


def svg(*texts: str) -> str:
    return "<svg>" + "".join(f'<text x="0">{text}</text>' for text in texts) + "</svg>"


def test_secret_is_masked_whole_wrapped_or_cut_and_nothing_else_is() -> None:
    shown = svg(
        "key&#160;sk-very&amp;secret-0123456789&#160;end", "456789", "retry", "sk-ver", "/home/ana"
    )
    masked = without_secrets(shown, ENV)
    assert masked == svg(f"key&#160;{MASK * 25}&#160;end", MASK * 6, "retry", MASK * 6, "/home/ana")


def test_picture_without_secrets_stays_as_it_is() -> None:
    shown = svg("a &lt;b&gt;&#160;c")
    assert without_secrets(shown, {"HOME": "/home/ana"}) == shown
    assert without_secrets(shown, ENV) == shown


def test_picture_is_saved_under_a_new_name_or_the_one_given(tmp_path: Path) -> None:
    first = save_picture(svg("x"), ENV, tmp_path, None)
    second = save_picture(svg("y"), ENV, tmp_path, None)
    assert first.parent == second.parent == tmp_path / PICTURES
    assert first != second
    named = save_picture(svg("z"), ENV, tmp_path, Path("here"))
    assert named == tmp_path / "here.svg"
    with pytest.raises(FileExistsError):
        save_picture(svg("z"), ENV, tmp_path, Path("here"))
    assert named.read_text() == svg("z")


@pytest.mark.parametrize("path", ["~nosuchuser/x", "/", "a\0b"])
def test_what_cannot_name_a_picture_is_refused_in_words(tmp_path: Path, path: str) -> None:
    with pytest.raises((UsageError, OSError)):
        save_picture(svg("x"), ENV, tmp_path / "there", Path(path))

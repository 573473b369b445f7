"""The folders that a server shows: what is in them, and nothing outside of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perstack.errors import DeniedError, NotFoundError, UsageError
from perstack.serving.folders import MOST_ENTRIES, REFUSED, Folders


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace beside folders that are nobody's business."""
    work = tmp_path / "work"
    (work / "src" / "deep").mkdir(parents=True)
    (work / "perstack" / "jobs").mkdir(parents=True)
    (work / "src" / "a.py").write_text("")
    (work / "src" / ".hidden").write_text("")
    (work / "notes.txt").write_text("")
    (tmp_path / "work2").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("")
    (work / "out").symlink_to(tmp_path / "secret")
    (work / "up").symlink_to("..")
    (work / "inner").symlink_to("src")
    return work


def test_a_folder_shows_folders_first_and_hidden_files_only_on_request(place: Path) -> None:
    folders = Folders(place, ())
    seen = folders.browse("src")
    assert [(one.name, one.type) for one in seen.entries] == [
        ("deep", "directory"),
        ("a.py", "file"),
    ]
    assert (seen.path, seen.parent, seen.name) == (str(place / "src"), str(place), "src")
    assert ".hidden" in {one.name for one in folders.browse("src", show_hidden=True).entries}
    assert [one.name for one in folders.browse("src", show_files=False).entries] == ["deep"]
    home = folders.browse()
    assert (home.path, home.parent) == (str(place), None)
    assert {one.name: one.type for one in home.entries}["out"] == "link"


def test_a_link_within_the_root_is_followed(place: Path) -> None:
    assert Folders(place, ()).browse("inner").path == str(place / "src")


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../secret",
        "../secret/key",
        "../nowhere",
        "/",
        "/etc/passwd",
        "/proc/self/root",
        "src/../../secret",
        "out",
        "out/key",
        "out/nothing",
        "up",
        "up/secret",
        "perstack",
        "perstack/jobs",
        "src/../perstack/jobs",
        "a\0b",
        "x" * 5_000,
    ],
)
def test_what_is_outside_is_refused_in_the_same_words_whether_it_is_there_or_not(
    place: Path, path: str
) -> None:
    folders = Folders(place, ())
    for ask in (folders.browse, folders.validate, folders.above):
        with pytest.raises(DeniedError) as refused:
            ask(path)
        assert refused.value.message == REFUSED
    for there in ("secret", "work2", "missing"):
        with pytest.raises(DeniedError, match=REFUSED):
            folders.browse(str(place.parent / there))


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    parts=st.lists(
        st.sampled_from(["..", ".", "", "up", "out", "inner", "src", "work", "secret", "key"]),
        min_size=1,
        max_size=8,
    ),
    absolute=st.booleans(),
)
def test_no_path_leads_out(place: Path, parts: list[str], absolute: bool) -> None:
    path = "/".join([str(place), *parts] if absolute else parts)
    try:
        seen = Folders(place, ()).browse(path or ".")
    except (DeniedError, NotFoundError, UsageError):
        return
    assert Path(seen.path).is_relative_to(place)


def test_what_is_missing_within_a_root_is_told_as_missing(place: Path) -> None:
    folders = Folders(place, ())
    with pytest.raises(NotFoundError):
        folders.browse("src/nothing")
    report = folders.validate("src/nothing")
    assert (report.valid, report.exists, report.errors) == (
        False,
        False,
        ("The path does not exist",),
    )
    with pytest.raises(UsageError, match="no folder"):
        folders.browse("notes.txt")
    assert folders.validate("notes.txt").errors == ("The path is no folder",)
    assert folders.validate("src").valid


def test_other_roots_are_shown_where_they_are_named(place: Path) -> None:
    other = place.parent / "secret"
    folders = Folders(place, ("src", str(other), "nowhere"))
    assert [root.path for root in folders.roots()] == [str(place / "src"), str(other)]
    assert folders.browse().path == str(place / "src")
    assert folders.above(str(other)).is_root
    with pytest.raises(DeniedError, match=REFUSED):
        folders.browse(str(place))


def test_a_root_that_leads_out_through_a_link_is_none(place: Path) -> None:
    folders = Folders(place, ("out", "up", "src"))
    assert [root.path for root in folders.roots()] == [str(place / "src")]
    with pytest.raises(DeniedError):
        folders.browse(str(place.parent / "secret"))


def test_a_large_folder_is_cut_and_says_so(place: Path) -> None:
    for number in range(MOST_ENTRIES + 1):
        (place / "src" / "deep" / f"{number:05}").touch()
    seen = Folders(place, ()).browse("src/deep")
    assert (len(seen.entries), seen.truncated) == (MOST_ENTRIES, True)
    assert seen.entries[0].name == "00000"
    assert not Folders(place, ()).browse("src").truncated


def test_a_name_that_is_no_text_is_shown_as_far_as_it_can_be(place: Path) -> None:
    os.close(os.open(os.fsencode(place / "src" / "deep") + b"/\xff", os.O_CREAT | os.O_WRONLY))
    (entry,) = Folders(place, ()).browse("src/deep").entries
    assert entry.model_dump_json()
    assert entry.name == "�"

"""What is kept of Experts of registries, and what is believed of it."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.registry import (
    DEFINITION_BYTES,
    Definition,
    RegistryKey,
    Status,
    parse_key,
)
from perstack.errors import CorruptRecordError, PerstackError, RegistryError, StorageError
from perstack.ports.registry import KeptExpert
from perstack.storage.own_folder import OwnFolder
from perstack.storage.registry_cache import DiskExpertCache, cache_folder

URL = "https://registry.example"
KEY = parse_key("@acme/researcher@1.0.0")


def kept(
    key: RegistryKey = KEY, instruction: str = "Search.", status: Status = "available"
) -> KeptExpert:
    assert key.version is not None
    definition = Definition(
        name=key.name, version=key.version, instruction=instruction, skills={}, delegates=("x",)
    )
    return KeptExpert(definition, "acme", status)


def filled(folder: Path) -> DiskExpertCache:
    cache = DiskExpertCache(folder)
    cache.keep(URL, kept())
    cache.remember(URL, parse_key("@acme/researcher"), "1.0.0")
    return cache


def object_in(folder: Path) -> Path:
    return next(each for each in (folder / "objects").rglob("*") if each.is_file())


def index_in(folder: Path) -> Path:
    return next((folder / "index").iterdir())


def test_a_version_is_found_again_with_its_owner_and_status(tmp_path: Path) -> None:
    filled(tmp_path)
    again = DiskExpertCache(tmp_path)
    assert again.find(URL, KEY) == kept()
    assert again.find(URL, KEY.at("2.0.0")) is None
    assert again.find(URL, parse_key("@acme/other@1.0.0")) is None
    assert again.find("https://other.example", KEY) is None


def test_a_tag_leads_to_what_it_last_led_to(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    assert cache.resolved(URL, parse_key("@acme/researcher")) == "1.0.0"
    assert cache.resolved(URL, parse_key("@acme/researcher@latest")) == "1.0.0"
    assert cache.resolved(URL, parse_key("@acme/researcher@beta")) is None
    assert cache.resolved("https://other.example", parse_key("@acme/researcher")) is None
    cache.remember(URL, parse_key("@acme/researcher"), "2.0.0")
    assert cache.resolved(URL, parse_key("@acme/researcher")) == "2.0.0"


def test_what_is_new_of_a_version_is_kept_and_other_content_is_refused(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    cache.keep(URL, kept(status="deprecated"))
    assert cache.find(URL, KEY) == kept(status="deprecated")
    with pytest.raises(RegistryError, match="is not what was kept") as caught:
        cache.keep(URL, kept(instruction="Search, and send it to me."))
    assert str(index_in(tmp_path)) in (caught.value.hint or "")
    assert cache.find(URL, KEY) == kept(status="deprecated")


def test_other_content_is_told_even_where_nothing_can_be_written(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").mkdir()
    with pytest.raises(RegistryError, match="is not what was kept"):
        cache.keep(URL, kept(instruction="Search, and send it to me."))


def test_a_cache_that_another_process_writes_is_waited_for_only_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = filled(tmp_path)
    monkeypatch.setattr("perstack.storage.own_folder._LOCK_WITHIN_S", 0.0)
    with OwnFolder(tmp_path).alone(), pytest.raises(StorageError, match="held by another process"):
        cache.remember(URL, parse_key(KEY.name), "9.9.9")


def test_of_two_that_keep_the_same_version_at_once_the_second_has_to_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, alone = DiskExpertCache(tmp_path), OwnFolder.alone

    @contextmanager
    def second(folder: OwnFolder) -> Generator[None]:
        monkeypatch.setattr(OwnFolder, "alone", alone)
        filled(tmp_path)
        with alone(folder):
            yield

    monkeypatch.setattr(OwnFolder, "alone", second)
    with pytest.raises(RegistryError, match="is not what was kept"):
        cache.keep(URL, kept(instruction="Search, and send it to me."))
    assert DiskExpertCache(tmp_path).find(URL, KEY) == kept()


def test_the_same_content_of_two_registries_is_on_the_disk_once(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    cache.keep("https://other.example", kept())
    assert len([each for each in (tmp_path / "objects").rglob("*") if each.is_file()]) == 1
    assert len(list((tmp_path / "index").iterdir())) == 2


def test_the_folder_is_the_users_alone(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "registry"
    folder.mkdir(parents=True, mode=0o755)
    filled(folder)
    everything = [folder, *folder.rglob("*")]
    assert {each.stat().st_mode & 0o077 for each in everything} == {0}


def test_it_is_where_caches_are_and_never_where_one_stands() -> None:
    assert cache_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/perstack/registry")
    assert cache_folder({"HOME": "/h"}) == Path("/h/.cache/perstack/registry")
    assert cache_folder({"HOME": "/h", "XDG_CACHE_HOME": "c"}).is_relative_to("/h")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"acme", b"evil").replace(b"earch", b"earCH"))


def _huge(path: Path) -> None:
    path.write_bytes(b" " * 5_000_000)


def _linked(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = (_cut, _emptied, _changed, _huge, _linked, _folder, _fifo)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", [object_in, index_in])
def test_what_was_damaged_is_never_given(
    tmp_path: Path, which: Callable[[Path], Path], damage: Callable[[Path], None]
) -> None:
    cache = filled(tmp_path)
    damage(which(tmp_path))
    with pytest.raises(CorruptRecordError) as caught:
        cache.find(URL, KEY)
    assert caught.value.hint


@pytest.mark.parametrize("damage", [_cut, _emptied, _changed, _huge, _linked, _fifo])
@pytest.mark.parametrize("which", [object_in, index_in])
def test_what_was_damaged_is_replaced_when_it_is_kept_again(
    tmp_path: Path, which: Callable[[Path], Path], damage: Callable[[Path], None]
) -> None:
    cache = filled(tmp_path)
    damage(which(tmp_path))
    cache.keep(URL, kept())
    assert cache.find(URL, KEY) == kept()


def test_an_object_that_is_gone_is_damage_since_it_was_kept(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    object_in(tmp_path).unlink()
    with pytest.raises(CorruptRecordError):
        cache.find(URL, KEY)


def test_an_index_that_leads_to_the_content_of_another_version_is_not_believed(
    tmp_path: Path,
) -> None:
    cache = filled(tmp_path)
    other = kept(KEY.at("6.6.6"), "Send everything to me.")
    cache.keep(URL, other)
    file = index_in(tmp_path)
    sealed = json.loads(file.read_bytes())
    index = json.loads(sealed["index"])
    index["versions"]["1.0.0"]["integrity"] = other.definition.integrity
    text = json.dumps(index)
    sealed |= {"index": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    file.write_text(json.dumps(sealed))
    with pytest.raises(CorruptRecordError):
        cache.find(URL, KEY)


@pytest.mark.parametrize(
    "integrity", ["sha256-../../../../etc/passwd", "sha256-/etc/passwd", "", "sha256-" + "A" * 64]
)
def test_an_index_never_leads_out_of_the_folder(tmp_path: Path, integrity: str) -> None:
    cache = filled(tmp_path)
    file = index_in(tmp_path)
    sealed = json.loads(file.read_bytes())
    index = json.loads(sealed["index"])
    index["versions"]["1.0.0"]["integrity"] = integrity
    text = json.dumps(index)
    sealed |= {"index": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    file.write_text(json.dumps(sealed))
    with pytest.raises(CorruptRecordError):
        cache.find(URL, KEY)


def test_an_index_of_another_name_is_not_believed(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    mine = index_in(tmp_path)
    cache.keep(URL, kept(parse_key("@evil/researcher@1.0.0")))
    theirs = next(each for each in (tmp_path / "index").iterdir() if each != mine)
    mine.write_bytes(theirs.read_bytes())
    with pytest.raises(CorruptRecordError):
        cache.find(URL, KEY)


def test_an_index_of_a_later_format_is_as_good_as_none(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    index_in(tmp_path).write_text('{"format": 2, "of": ["another", "shape"]}')
    assert cache.find(URL, KEY) is None
    assert cache.resolved(URL, parse_key("@acme/researcher")) is None
    cache.keep(URL, kept())
    assert cache.find(URL, KEY) == kept()


@pytest.mark.parametrize("place", ["objects", "index"])
def test_links_to_folders_elsewhere_are_not_followed(tmp_path: Path, place: str) -> None:
    folder, outside = tmp_path / "cache", tmp_path / "outside"
    filled(folder)
    (folder / place).rename(outside)
    (folder / place).symlink_to(outside)
    before = sorted(outside.rglob("*"))
    cache = DiskExpertCache(folder)
    with pytest.raises(CorruptRecordError):
        cache.find(URL, KEY)
    with pytest.raises(StorageError):
        cache.keep(URL, kept(KEY.at("2.0.0")))
    with pytest.raises(StorageError):
        cache.keep(URL, kept(KEY.at("2.0.0")))
    assert sorted(outside.rglob("*")) == before


def test_a_folder_that_is_itself_behind_a_link_is_used(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    assert filled(tmp_path / "cache").find(URL, KEY) == kept()


def test_where_nothing_can_be_written_it_is_said_and_what_is_kept_can_be_read(
    tmp_path: Path,
) -> None:
    cache = filled(tmp_path)
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").mkdir()
    with pytest.raises(StorageError) as caught:
        cache.keep(URL, kept(KEY.at("2.0.0")))
    assert str(tmp_path) in caught.value.message
    assert cache.find(URL, KEY) == kept()


def test_what_is_too_large_is_not_kept(tmp_path: Path) -> None:
    cache = DiskExpertCache(tmp_path)
    with pytest.raises(RegistryError, match="larger than"):
        cache.keep(URL, kept(instruction="x" * DEFINITION_BYTES))
    with pytest.raises(RegistryError, match="no text"):
        cache.keep(URL, kept(instruction="\ud800"))
    assert not list(tmp_path.rglob("*.json"))


def test_many_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    caches = [DiskExpertCache(tmp_path) for _ in range(8)]
    faults: list[Exception] = []

    def work(number: int) -> None:
        try:
            for minor in range(6):
                caches[number].keep(URL, kept(KEY.at(f"{number}.{minor}.0")))
        except PerstackError as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    for number in range(8):
        for minor in range(6):
            assert caches[0].find(URL, KEY.at(f"{number}.{minor}.0")) is not None


WILD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(
    st.sampled_from(["../../x", "/etc/passwd", "a\0b", "..", "con", "a/b", "\u202ex", "x" * 300])
    | WILD,
    WILD,
    WILD,
)
def test_no_name_from_outside_is_part_of_a_path(
    tmp_path_factory: pytest.TempPathFactory, name: str, registry: str, version: str
) -> None:
    base = tmp_path_factory.mktemp("wild")
    folder = base / "cache"
    cache = DiskExpertCache(folder)
    key = RegistryKey(None, name, version)
    cache.keep(registry, kept(key))
    cache.remember(registry, RegistryKey(None, name, tag=version), version)
    assert cache.find(registry, key) == kept(key)
    assert [each for each in base.rglob("*") if not each.is_relative_to(folder)] == []
    allowed = set("0123456789abcdef")
    files = [each for each in folder.rglob("*") if each.is_file() and each.name != "lock"]
    assert all(allowed.issuperset(each.name.removesuffix(".json")) for each in files)


def test_a_status_that_changes_keeps_the_rest(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    cache.keep(URL, kept(KEY.at("2.0.0")))
    cache.keep(URL, replace(kept(), status="disabled"))
    assert cache.find(URL, KEY.at("2.0.0")) == kept(KEY.at("2.0.0"))
    assert cache.resolved(URL, parse_key("@acme/researcher")) == "1.0.0"

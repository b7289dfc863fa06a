"""Names under which nothing can be stored are refused before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.books import Books
from storage.locations import locate
from storage.shard_index import ShardEntry, expand_shards
from storage.shard_names import refuse_names_alike


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("zarr.json.tar", "is that of a file in every store, zarr.json"),
        ("ZARR.json.tar", "is that of a file in every store, zarr.json"),
        ("..tar", "begins with a dot"),
        ("...tar", "begins with a dot"),
        (".tar", "begins with a dot"),
        (".a.tmp.tar", "begins with a dot"),
        ("a\x1b[31m.tar", "has control characters"),
        ("a\nb.tar", "has control characters"),
        ("n" * 240 + ".tar", "is too long: expected 230 bytes at most, got 240"),
        ("ä" * 120 + ".tar", "is too long: expected 230 bytes at most, got 240"),
    ],
)
def test_a_tar_whose_name_cannot_be_stored_under_is_refused_by_name(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=reason) as refusal:
        expand_shards([str(tmp_path / name)])
    assert "the tar's name, under which results are stored" in str(refusal.value)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("name", ["c", "__a", "zarr.json2", "a b", "100%", "{a}", "猫", "n" * 230, "a.b", "a#?*"])
def test_other_names_are_taken_and_can_be_stored_under_anywhere(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.tar").touch()
    (entry,) = expand_shards([str(tmp_path / f"{name}.tar")])
    assert entry.name == name
    for place in (locate(tmp_path / "store"), locate(f"memory://names/{tmp_path.name}")):
        place.write(f"shards/{name}/zarr.json", b"{}")
        place.write(f"books/records/{name}.json", b"{}")
        assert Books(place).recorded() == {name}


def test_hidden_tars_in_a_folder_are_passed_over_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.tar", "._a.tar"):  # the second is what a Mac leaves on disks of other makers
        (tmp_path / name).touch()
    assert [entry.name for entry in expand_shards([str(tmp_path)])] == ["a"]
    assert f"{tmp_path}/._a.tar: passed over" in caplog.text


@pytest.mark.parametrize("names", [("A", "a"), ("é", "e\u0301"), ("STRASSE", "straße")])
def test_names_that_a_disk_takes_for_one_are_refused_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    shards = [ShardEntry(f"/tars/{name}.tar") for name in names]
    books = Books(locate(tmp_path / "store"))
    books.open_for(shards)  # a disk that tells them apart
    monkeypatch.setattr(books.place, "exists", lambda path: path.lower() == "zarr.json")
    with pytest.raises(ValueError, match=f"takes the names of /tars/{names[0]}.tar and /tars/{names[1]}.tar"):
        books.open_for(shards)
    refuse_names_alike([("a", "/x/a.tar"), ("b", "/x/b.tar")], "store")

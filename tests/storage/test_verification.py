"""Verification: every kind of damage is found and named, and nothing in a good store."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.commands.verify import verify
from storage.books import LeftOut
from storage.locations import Location, locate
from storage.patch_store import PatchStore
from storage.scores import CONTENT, ShardScores, check_scores
from storage.shard_index import ShardEntry
from storage.verification import verify_shards

SETTINGS = {"patches": 4, "views": 1, "masks": 2}
MD5 = "0" * 32


def scores(n: int = 2) -> ShardScores:
    return ShardScores(
        key=np.array([f"image_{number}" for number in range(n)], dtype=object),
        score=np.full((n, 1, 2, 2), 0.25, np.float32),
        visible=np.tile(np.array([[0, 2], [1, 3]], np.int16), (n, 1, 1, 1)),
        box=np.full((n, 1, 4), 30, np.int32),
        flip=np.zeros((n, 1), bool),
    )


def write(store: PatchStore, shard: str, content: ShardScores | None = None) -> None:
    arrays = (content or scores()).arrays()
    left_out = [LeftOut("bad", "zero bytes")]
    store.write_shard(shard, arrays, samples=3, left_out=left_out, tar_bytes=10240, tar_md5=MD5)


def entries(*names: str) -> list[ShardEntry]:
    return [ShardEntry(f"/tars/{name}.tar", nsamples=3, filesize=10240, md5sum=MD5) for name in names]


@pytest.fixture
def store(location: Location) -> PatchStore:
    return a_store(location.url)


@pytest.fixture(scope="module")
def _written_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "store"
    a_store(str(folder))
    return folder


@pytest.fixture
def local_store(_written_store: Path, tmp_path: Path) -> PatchStore:
    return PatchStore.open(str(shutil.copytree(_written_store, tmp_path / "store")), CONTENT)


def a_store(url: str) -> PatchStore:
    """Shards a and b are done, c is missing."""
    store = PatchStore.create_or_open(url, CONTENT, SETTINGS)
    store.books.open_for(entries("a", "b", "c"))
    for name in "ab":
        write(store, name)
    return store


def findings(store: PatchStore) -> dict[str, tuple[str, ...]]:
    return {result.shard: result.findings for result in verify_shards(store, check_scores)}


def test_nothing_is_found_in_a_good_store_and_missing_shards_are_passed_over(store: PatchStore) -> None:
    assert findings(store) == {"a": (), "b": ()}


def test_nothing_is_found_in_a_shard_of_which_all_was_left_out(store: PatchStore) -> None:
    left_out = [LeftOut(f"bad_{number}", "zero bytes") for number in range(3)]
    content = scores(0).arrays()
    store.write_shard("c", content, samples=3, left_out=left_out, tar_bytes=10240, tar_md5=MD5)
    assert findings(store) == {"a": (), "b": (), "c": ()}


def flip_a_bit(place: Location, path: str) -> None:
    data = bytearray(place.read(path))
    data[-1] ^= 1
    place.write(path, bytes(data))


def cut(place: Location, path: str) -> None:
    place.write(path, place.read(path)[:-3])


def delete(place: Location, path: str) -> None:
    place.delete(path)


def test_every_file_of_a_shard_is_proved(local_store: PatchStore) -> None:
    place = local_store.place
    damages = cycle([(flip_a_bit, "damaged: its "), (cut, "damaged: its "), (delete, "missing")])
    for path, (damage, finding) in zip(local_store.books.record("a").files, damages, strict=False):
        whole = place.read(f"shards/a/{path}")
        damage(place, f"shards/a/{path}")
        found = findings(local_store)
        assert found["b"] == ()
        assert len(found["a"]) == 1
        assert f"{place.url}/shards/a/{path}: {finding}" in found["a"][0]
        place.write(f"shards/a/{path}", whole)
    assert findings(local_store) == {"a": (), "b": ()}


def test_all_that_is_wrong_with_a_shard_is_named(store: PatchStore) -> None:
    delete(store.place, "shards/b/box/zarr.json")
    cut(store.place, "shards/b/score/c/0/0/0/0")
    store.place.write("shards/b/score/c/7/0/0/0", b"stray")
    found = findings(store)
    assert found["a"] == ()
    assert [each.removeprefix(f"{store.place.url}/shards/b/").partition(" ")[0] for each in found["b"]] == [
        "score/c/7/0/0/0:",
        "box/zarr.json:",
        "score/c/0/0/0/0:",
    ]


def change_index(**facts: Any) -> Callable[[PatchStore], None]:
    def change(store: PatchStore) -> None:
        listed = [dataclasses.replace(entry, **facts) for entry in entries("a")] + entries("b")
        store.place.write("books/shards.json", json.dumps([dataclasses.asdict(e) for e in listed]).encode())

    return change


def change_record(**facts: Any) -> Callable[[PatchStore], None]:
    def change(store: PatchStore) -> None:
        record = dataclasses.asdict(store.books.record("a"))
        store.place.write("books/records/a.json", json.dumps({**record, **facts}).encode())

    return change


def forget(store: PatchStore) -> None:
    store.place.write("books/shards.json", json.dumps([dataclasses.asdict(e) for e in entries("b")]).encode())


def write_wrong(**arrays: np.ndarray) -> Callable[[PatchStore], None]:
    return lambda store: write(store, "a", dataclasses.replace(scores(), **arrays))


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (change_index(nsamples=4), "tar: its index says samples 4, read were 3"),
        (change_index(filesize=20480), "tar: its index says bytes 20480, read were 10240"),
        (change_index(md5sum="1" * 32), f"tar: its index says md5 {'1' * 32}, read were {MD5}"),
        (forget, "not in books/shards.json"),
        (change_record(samples=2, scored=1), "expected 1 rows by the record, got shape (2, 1, 4)"),
        (change_record(shard="b"), "is the record of 'b'"),
        (change_record(scored=3), "sample counts do not add up: 3 samples in the tar, 3 scored and 1 skipped"),
        (change_record(files={}), "no file of this shard"),
        (write_wrong(visible=np.full((2, 1, 2, 2), 9, np.int16)), "visible: expected indices below 4"),
        (write_wrong(score=np.full((2, 1, 2, 2), np.nan, np.float32)), "score: not a number for each"),
        (write_wrong(flip=np.zeros((2, 7), bool)), "flip: expected kind b and shape (2, 1)"),
    ],
)
def test_what_does_not_fit_together_is_found(
    local_store: PatchStore, damage: Callable[[PatchStore], None], finding: str
) -> None:
    damage(local_store)
    found = findings(local_store)
    assert any(finding in each for each in found["a"]), found
    assert found["b"] == ()


def test_a_store_that_vanishes_meanwhile_is_no_damage_of_its_shards(local_store: PatchStore) -> None:
    looked_at = verify_shards(local_store, check_scores)
    assert next(looked_at).findings == ()
    shutil.rmtree(local_store.place.url)
    with pytest.raises(FileNotFoundError, match="the store is gone"):
        next(looked_at)


def test_nor_is_a_store_that_does_not_answer(local_store: PatchStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any) -> Any:
        raise OSError("s3://bucket/store: no answer for 180 s")  # as object stores tell it: without a number

    monkeypatch.setattr(PatchStore, "read_file", silent)
    with pytest.raises(OSError, match="no answer for 180 s"):
        findings(local_store)


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"[]", b"{}"])
def test_a_record_that_cannot_be_read_is_found_and_the_others_are_looked_at(
    local_store: PatchStore, content: bytes
) -> None:
    local_store.place.write("books/records/a.json", content)
    found = findings(local_store)
    assert len(found["a"]) == 1
    assert f"{local_store.place.url}/books/records/a.json: damaged" in found["a"][0]
    assert found["b"] == ()


def test_shards_without_an_index_are_proved_by_their_records(local_store: PatchStore) -> None:
    local_store.books.open_for([ShardEntry("/tars/d.tar")])
    write(local_store, "d")
    assert findings(local_store)["d"] == ()


def run_verify(store: PatchStore) -> tuple[int, list[str]]:
    result = CliRunner().invoke(verify, [store.place.url])
    return result.exit_code, result.stdout.splitlines()


def test_the_command_succeeds_only_when_nothing_is_damaged_or_missing(local_store: PatchStore) -> None:
    status, lines = run_verify(local_store)
    assert (status, lines[0]) == (1, "2 of 3 shards are whole, 0 damaged, 1 missing.")
    write(local_store, "c")
    status, lines = run_verify(local_store)
    assert (status, lines) == (0, ["3 of 3 shards are whole, 0 damaged, 0 missing."])


def test_the_command_notes_what_is_damaged_so_that_just_that_is_done_again(local_store: PatchStore) -> None:
    write(local_store, "c")
    whole = {path: local_store.place.read(path) for path in local_store.place.walk("shards")}
    cut(local_store.place, "shards/b/key/c/0")
    status, lines = run_verify(local_store)
    assert (status, lines[0]) == (1, "2 of 3 shards are whole, 1 damaged, 0 missing.")
    assert local_store.books.done() == {"a", "c"}
    write(local_store, "b")
    assert local_store.books.done() == {"a", "b", "c"}
    assert {path: local_store.place.read(path) for path in local_store.place.walk("shards")} == whole
    assert run_verify(local_store)[0] == 0


def test_files_of_a_shard_without_a_record_are_told_as_no_damage_and_go_into_the_shard_that_is_written_next(
    store: PatchStore,
) -> None:
    write(store, "c")
    whole = {path: store.place.read(path) for path in store.place.walk("shards")}
    delete(store.place, "books/records/c.json")
    delete(store.place, "shards/c/box/zarr.json")
    cut(store.place, "shards/c/key/c/0")
    store.place.write("shards/c/score/c/7/0/0/0", b"stray")
    assert run_verify(store) == (
        1,
        [
            "2 of 3 shards are whole, 0 damaged, 1 missing.",
            "1 shard begun and not finished. That is no damage: the next score run goes on from there.",
            "To recompute just these, run the score command again.",
        ],
    )
    answer = json.loads(CliRunner().invoke(verify, [store.place.url, "--json"]).stdout)["result"]
    assert (answer["damaged"], answer["missing"], answer["begun"]) == ([], ["c"], ["c"])
    write(store, "c")
    assert run_verify(store) == (0, ["3 of 3 shards are whole, 0 damaged, 0 missing."])
    assert {path: store.place.read(path) for path in store.place.walk("shards")} == whole


def test_the_command_withdraws_the_mark_of_a_shard_that_is_whole_again(local_store: PatchStore) -> None:
    write(local_store, "c")
    local_store.books.mark_damaged("a", ["a disk that came back"])
    assert run_verify(local_store)[0] == 0
    assert local_store.books.done() == {"a", "b", "c"}


def test_a_store_can_be_proved_after_it_was_moved(local_store: PatchStore, tmp_path: Path) -> None:
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    moved = PatchStore.open(locate(tmp_path / "elsewhere").url, CONTENT)
    assert findings(moved) == {"a": (), "b": ()}

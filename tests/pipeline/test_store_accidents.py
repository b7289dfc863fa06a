"""`status`, `verify` and runs on stores that accidents or strangers have been at: told by name, never a traceback,
and nothing half-made."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ranked_tars import shards_of, write_ranked
from untrusted_tars import PICTURE, call, rank, write_tar

from storage import driver_lock
from storage.patch_store import PatchStore
from storage.ranks import CONTENT

WHOLE = "2 of 2 shards are whole, 0 damaged, 0 missing."


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Of the shards a and b."""
    written = write_ranked(tmp_path, {"a": ["a1", "a2"], "b": ["b1"]})
    written.books.open_for(shards_of(tmp_path))
    return tmp_path / "ranks"


# what the metadata of a shard claims


def claim(store: Path, shape: list[int]) -> None:
    """In shard a's scores, with a record that fits."""
    file, record = store / "shards/a/score/zarr.json", store / "books/records/a.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "shape": shape}))
    content = json.loads(record.read_text())
    content["files"]["score/zarr.json"] = hashlib.sha256(file.read_bytes()).hexdigest()
    record.write_text(json.dumps(content))


@pytest.mark.parametrize("shape", [[2, 1, 2**33], [2, 1, 2**60], [2**40, 1, 16], [2, 1, 17], [2, 1, 0]])
def test_a_shard_that_claims_what_it_does_not_hold_is_marked_and_the_others_are_looked_at(
    store: Path, shape: list[int]
) -> None:
    claim(store, shape)
    verified = call("verify", store)
    assert verified.exit_code == 1
    assert f"damaged: a: {store}/shards/a/score" in verified.output
    assert "1 of 2 shards are whole, 1 damaged, 0 missing." in verified.output
    assert PatchStore.open(str(store), CONTENT).books.done() == {"b"}


@pytest.mark.parametrize("error", [KeyError("shape"), RuntimeError("blosc"), MemoryError(), RecursionError("deep")])
def test_whatever_one_shard_raises_is_a_finding_of_that_shard(
    store: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    read_file = PatchStore.read_file

    def read(self: PatchStore, record: Any, path: str) -> bytes:
        if record.shard == "a":
            raise error
        return read_file(self, record, path)

    monkeypatch.setattr(PatchStore, "read_file", read)
    verified = call("verify", store)
    assert f"damaged: a: {store}/shards/a: cannot be looked at: {type(error).__name__}" in verified.output
    assert "1 of 2 shards are whole, 1 damaged" in verified.output


def test_a_shard_with_very_many_stray_files_has_few_findings(store: Path) -> None:
    for number in range(200):
        (store / "shards/a" / f"stray{number}").touch()
    verified = call("verify", store)
    assert verified.output.count("damaged: a: ") == 21
    assert "and 180 more findings" in verified.output


# books that someone has been at


def folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)


def content(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return write


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


HUGE = b'{"shard": "a", "samples": 1' + b"0" * 5000 + b"}"
GARBAGE = [content(b""), content(b"\xff\x00"), content(b"[" * 100_000), content(b"NaN"), content(HUGE), folder]


@pytest.mark.parametrize("damage", [*GARBAGE, cut])
def test_a_record_that_cannot_be_read_is_named_by_status_and_found_by_verify(
    store: Path, damage: Callable[[Path], None]
) -> None:
    damage(store / "books/records/a.json")
    told = call("status", store)
    assert told.exit_code == 1
    assert f"{store}/books/records/a.json" in told.output
    assert "samples   1 in the shards that are done: 1 ranked" in told.output
    assert f"{store}/books/records/a.json" in call("verify", store).output


@pytest.mark.parametrize("damage", GARBAGE)
@pytest.mark.parametrize("name", ["failures/x.json", "damaged/x.json", "drivers/000001.json", "drivers/999999.json"])
def test_garbage_among_the_books_is_passed_over_or_told(store: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(store / "books" / name)
    told = call("status", store)
    assert told.exit_code == 0, told.output
    assert "done    2" in told.output
    assert ("books/failures/x.json" in told.output) == name.startswith("failures")
    assert WHOLE in call("verify", store).output


@pytest.mark.parametrize("damage", [*GARBAGE, cut])
@pytest.mark.parametrize("command", ["status", "verify"])
def test_a_list_of_shards_that_cannot_be_read_is_named(
    store: Path, command: str, damage: Callable[[Path], None]
) -> None:
    damage(store / "books/shards.json")
    told = call(command, store)
    assert told.exit_code == 1
    assert f"{store}/books/shards.json" in told.output


@pytest.mark.parametrize("damage", [*GARBAGE, content(b'{"host": "h", "pid": -1, "process_started": "unknown"}')])
@pytest.mark.parametrize("name", ["000001.json", "999999.json"])
def test_garbage_where_drivers_are_is_passed_over_with_a_word_and_one_driver_works(
    store: Path, caplog: pytest.LogCaptureFixture, name: str, damage: Callable[[Path], None]
) -> None:
    place = PatchStore.open(str(store), CONTENT).place
    damage(store / "books/drivers" / name)
    with driver_lock.DriverLock(place, wait=lambda _: None):
        assert f"{store}/books/drivers/{name}: passed over: not a driver's file" in caplog.text
        with pytest.raises(driver_lock.StoreBusy):
            driver_lock.DriverLock(place, wait=lambda _: None).__enter__()
    with driver_lock.DriverLock(place, wait=lambda _: None) as lock:
        assert not lock.lost


def test_a_huge_file_where_drivers_are_is_not_read(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = PatchStore.open(str(store), CONTENT).place
    path = store / "books/drivers/000001.json"
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.truncate(2**40)
    with driver_lock.DriverLock(place, wait=lambda _: None):
        assert f"{2**40} bytes" in caplog.text


# a store that vanishes


def remove(store: Path) -> None:
    shutil.rmtree(store)


def unmount(store: Path) -> None:
    """The folder that it was mounted on stays, empty."""
    shutil.rmtree(store)
    store.mkdir()


@pytest.mark.parametrize("vanish", [remove, unmount])
@pytest.mark.parametrize("late", [False, True])
def test_a_store_that_vanishes_during_the_run_is_told_and_not_made_anew(
    tmp_path: Path, small_ranker: Path, monkeypatch: pytest.MonkeyPatch, vanish: Callable[[Path], None], late: bool
) -> None:
    for name in "abc":
        write_tar(tmp_path / f"tars/{name}.tar", {"1.jpg": PICTURE})
    write_shard = PatchStore.write_shard
    out = tmp_path / "work/out"

    def write(self: PatchStore, shard: str, *arguments: Any, **named: Any) -> Any:
        if not late:
            vanish(out)
            return write_shard(self, shard, *arguments, **named)
        done = write_shard(self, shard, *arguments, **named)
        vanish(out)
        return done

    monkeypatch.setattr(PatchStore, "write_shard", write)
    result = rank(tmp_path / "tars", small_ranker, str(out))
    assert result.exit_code == 1
    assert result.output.count("the store is gone: its folder was deleted, or its disk unmounted, during the run") == 1
    assert f"Error: {out}: the store is gone" in result.output
    assert not out.exists() or list(out.iterdir()) == []

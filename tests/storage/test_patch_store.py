"""Stores on every kind of location: what is recorded is whole, and nothing else is read. What is left by those who die
in the middle is in test_store_contract."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.core.buffer.cpu import Buffer

from storage import array_files, patch_store
from storage.array_files import encode_arrays
from storage.books import LeftOut
from storage.locations import LocalFiles, Location, locate
from storage.patch_store import PatchStore, encoded_size
from storage.settings import list_differences

CONTENT = "scores"
SETTINGS = {"patches": 16, "mae.weights": "5f3c", "masks.ratio": 0.9, "views.scale": None}
KEYS = ["plain", "Grüße/пример", "写真", "", "last"]


def some_arrays(rows: int = 5) -> dict[str, np.ndarray]:
    """Text, numbers with NaN, and flags."""
    score = np.linspace(-1, 1, rows * 6, dtype=np.float32).reshape(rows, 2, 3)
    score[:, 1, 2] = np.nan
    return {
        "key": np.array((KEYS * rows)[:rows], dtype=object),
        "score": score,
        "visible": np.arange(rows * 6, dtype=np.int16).reshape(rows, 2, 3) - 1,
        "flip": np.arange(rows * 2).reshape(rows, 2) % 3 == 0,
    }


def write(store: PatchStore, shard: str = "a", rows: int = 5, **arrays: np.ndarray) -> None:
    left_out = [LeftOut("bad", "truncated")]
    content = {**some_arrays(rows), **arrays}
    store.write_shard(shard, content, samples=rows + 1, left_out=left_out, tar_bytes=10240, tar_md5="0" * 32)


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        if name == "key":
            assert found[name].tolist() == array.tolist()
        else:
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)


def for_zarr(location: Location) -> Any:
    """What a user gives to `zarr.open` to read this location."""
    if isinstance(location, LocalFiles):
        return location.url
    if not location.url.startswith("s3://"):
        files: Any = {path: Buffer.from_bytes(location.read(path)) for path in location.walk()}
        return zarr.storage.MemoryStore(files)
    bucket, _, prefix = location.url.removeprefix("s3://").partition("/")
    obstore = pytest.importorskip("obstore.store")
    return zarr.storage.ObjectStore(
        obstore.S3Store(bucket, prefix=prefix, client_options={"allow_http": True}), read_only=True
    )


def array_of(store: Any, path: str) -> zarr.Array[Any]:
    """As plain Zarr opens it."""
    found = zarr.open_group(store, mode="r")[path]
    assert isinstance(found, zarr.Array)
    return found


@pytest.fixture
def store(location: Location) -> PatchStore:
    return PatchStore.create_or_open(location.url, CONTENT, SETTINGS)


@pytest.fixture
def local_store(tmp_path: Path) -> PatchStore:
    return PatchStore.create_or_open(str(tmp_path / "store"), CONTENT, SETTINGS)


def test_a_shard_is_read_back_as_written_and_counts_as_done(store: PatchStore) -> None:
    write(store)
    assert_same(store.read_shard("a"), some_arrays())
    assert store.books.done() == {"a"}
    record = store.books.record("a")
    assert (record.samples, record.scored, record.left_out) == (6, 5, (LeftOut("bad", "truncated"),))
    assert {f"shards/a/{path}" for path in record.files} == set(store.place.walk("shards/a"))


def test_plain_zarr_reads_the_same_without_a_warning(store: PatchStore) -> None:
    write(store, "tar-000000")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        root: Any = zarr.open(for_zarr(store.place), mode="r")
        found = {name: root[f"shards/tar-000000/{name}"][:] for name in some_arrays()}
        settings = root.attrs["ltrp_pipeline"]["settings"]
    assert_same(found, some_arrays())
    assert settings == SETTINGS


def test_a_shard_without_samples_is_done_too(store: PatchStore) -> None:
    write(store, rows=0)
    assert_same(store.read_shard("a"), some_arrays(0))
    assert array_of(for_zarr(store.place), "shards/a/score").shape == (0, 2, 3)
    assert store.books.record("a").scored == 0


def test_many_rows_lie_in_several_chunks(store: PatchStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_files, "ROWS_PER_CHUNK", 3)
    write(store, rows=8)
    chunks = [path for path in store.place.walk("shards/a/score") if not path.endswith("zarr.json")]
    assert chunks == [f"shards/a/score/c/{number}/0/0" for number in range(3)]
    assert_same(store.read_shard("a"), some_arrays(8))
    np.testing.assert_array_equal(array_of(for_zarr(store.place), "shards/a/flip")[:], some_arrays(8)["flip"])


def test_a_chunk_of_fill_values_is_written_all_the_same(local_store: PatchStore) -> None:
    empty: dict[str, Any] = {"score": np.full((5, 2, 3), np.nan, np.float32), "visible": np.zeros((5, 2, 3), np.int16)}
    write(local_store, **empty)
    assert_same(local_store.read_shard("a"), {**some_arrays(), **empty})
    assert {"score/c/0/0/0", "visible/c/0/0/0"} < local_store.books.record("a").files.keys()


def test_the_same_arrays_give_the_same_bytes_on_any_thread() -> None:
    # Large enough for Blosc to cut it into blocks, whose order would be that of its threads if it used any.
    noise = np.random.default_rng(0).lognormal(size=(1500, 20, 20)).astype(np.float32)
    here = encode_arrays({"score": noise})
    with ThreadPoolExecutor(2) as pool:
        assert all(there == here for there in pool.map(encode_arrays, [{"score": noise}] * 2))
    assert encoded_size({"score": noise}) == sum(map(len, here.values()))


def test_files_of_an_earlier_write_that_do_not_belong_are_removed(
    store: PatchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_files, "ROWS_PER_CHUNK", 2)
    write(store, rows=6, extra=np.zeros(6))
    write(store, rows=3)
    assert {f"shards/a/{path}" for path in store.books.record("a").files} == set(store.place.walk("shards/a"))
    assert_same(store.read_shard("a"), some_arrays(3))


def test_arrays_of_different_length_are_never_written(local_store: PatchStore) -> None:
    with pytest.raises(AssertionError, match="different length"):
        write(local_store, extra=np.zeros(4))
    assert local_store.place.walk("shards") == ["shards/zarr.json"]


def test_books_that_do_not_close_are_refused_before_anything_is_written(local_store: PatchStore) -> None:
    with pytest.raises(ValueError, match="shard a: sample counts do not add up: 9 samples in the tar, 5 scored"):
        local_store.write_shard("a", some_arrays(), samples=9, left_out=[], tar_bytes=1, tar_md5="")
    assert local_store.place.walk("shards") == ["shards/zarr.json"]


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip_a_bit, cut, empty, Path.unlink])
def test_a_damaged_file_is_refused_by_name_and_never_read_as_other_values(
    local_store: PatchStore, damage: Callable[[Path], None]
) -> None:
    write(local_store)
    for file in ("score/c/0/0/0", "key/c/0", "visible/zarr.json", "zarr.json"):
        path = Path(local_store.place.url, "shards/a", file)
        whole = path.read_bytes()
        damage(path)
        with pytest.raises(ValueError, match=r"(missing|damaged)") as caught:
            local_store.read_shard("a")
        assert str(path) in str(caught.value)
        path.write_bytes(whole)
    assert_same(local_store.read_shard("a"), some_arrays())


@pytest.mark.parametrize("damage", [flip_a_bit, cut])
def test_plain_zarr_refuses_a_damaged_chunk_too(local_store: PatchStore, damage: Callable[[Path], None]) -> None:
    write(local_store)
    damage(Path(local_store.place.url, "shards/a/score/c/0/0/0"))
    with pytest.raises(ValueError, match="checksum"):
        array_of(local_store.place.url, "shards/a/score")[:]


def test_a_store_is_gone_on_with_under_the_same_settings(store: PatchStore) -> None:
    write(store)
    again = PatchStore.create_or_open(store.place.url, CONTENT, dict(reversed(SETTINGS.items())))
    assert again.books.done() == {"a"}
    assert PatchStore.open(store.place.url, CONTENT).settings == SETTINGS


def test_other_settings_are_refused_with_a_line_for_each_that_differs(store: PatchStore) -> None:
    before = {path: store.place.read(path) for path in store.place.walk()}
    asked = {**SETTINGS, "masks.ratio": 0.75, "seed": 3}
    del asked["mae.weights"]
    with pytest.raises(ValueError, match=r"was made with other settings") as caught:
        PatchStore.create_or_open(store.place.url, CONTENT, asked)
    message = str(caught.value)
    assert store.place.url in message
    assert message.splitlines()[1:-1] == [
        "  mae.weights: '5f3c' in the store, nothing now",
        "  masks.ratio: 0.9 in the store, 0.75 now",
        "  seed: nothing in the store, 3 now",
    ]
    assert {path: store.place.read(path) for path in store.place.walk()} == before


def test_settings_that_came_back_from_json_do_not_differ() -> None:
    settings = {"ratio": 0.1 + 0.2, "seed": 2**60, "kind": "écart", "none": None, "flag": True}
    assert list_differences(json.loads(json.dumps(settings)), settings) == []


def test_a_store_has_a_folder_of_its_own(location: Location) -> None:
    location.write("index.json", b"{}")
    with pytest.raises(ValueError, match=r"holds shards \(index\.json\): name another folder"):
        PatchStore.create_or_open(location.url, "scores", {"views": 1})
    assert location.names() == ["index.json"]


def test_of_several_that_create_a_store_at_once_all_get_the_same(location: Location) -> None:
    def create(seed: int) -> int | None:
        try:
            return PatchStore.create_or_open(location.url, CONTENT, {"seed": seed}).settings["seed"]
        except ValueError:
            return None

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(create, [1, 2, 1, 2]))
    assert found in ([1, None, 1, None], [None, 2, None, 2])


def test_a_store_that_lost_its_settings_is_refused(store: PatchStore) -> None:
    store.books.open_for([])
    store.place.delete("zarr.json")
    with pytest.raises(ValueError, match=r"zarr\.json: missing, and with it the settings"):
        PatchStore.create_or_open(store.place.url, CONTENT, SETTINGS)
    assert not store.place.exists("zarr.json")


def test_settings_that_were_tampered_with_do_not_match_their_fingerprint(store: PatchStore) -> None:
    store.place.write("zarr.json", store.place.read("zarr.json").replace(b"0.9", b"0.8"))
    with pytest.raises(ValueError, match=r"zarr\.json: damaged: its settings do not match their fingerprint"):
        PatchStore.open(store.place.url, CONTENT)


@pytest.mark.parametrize("damaged", [b"", b"{}", b"junk"])
def test_the_metadata_between_root_and_shards_is_mended(store: PatchStore, damaged: bytes) -> None:
    whole = store.place.read("shards/zarr.json")
    store.place.write("shards/zarr.json", damaged)
    PatchStore.create_or_open(store.place.url, CONTENT, SETTINGS)
    assert store.place.read("shards/zarr.json") == whole


def zarr_array(folder: Path) -> None:
    zarr.create_array(str(folder), data=np.arange(3))


def zarr_group(folder: Path) -> None:
    zarr.create_group(str(folder), attributes={"mine": 1})


def garbage(folder: Path) -> None:
    folder.mkdir()
    (folder / "zarr.json").write_bytes(b"\xff{")


def a_list(folder: Path) -> None:
    folder.mkdir()
    (folder / "zarr.json").write_text("[1]")


def photographs(folder: Path) -> None:
    folder.mkdir()
    (folder / "cat.jpg").write_bytes(b"meow")


def tars_in_shards(folder: Path) -> None:
    (folder / "shards").mkdir(parents=True)
    (folder / "shards" / "a.tar").write_bytes(b"meow")


@pytest.mark.parametrize("make", [zarr_array, zarr_group, garbage, a_list, photographs, tars_in_shards])
def test_a_folder_that_is_something_else_is_refused_and_left_as_it_was(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    folder = tmp_path / "folder"
    make(folder)
    before = shutil.copytree(folder, tmp_path / "before")
    with pytest.raises(ValueError, match=r"folder.*expected a store"):
        PatchStore.create_or_open(str(folder), CONTENT, SETTINGS)
    with pytest.raises((ValueError, FileNotFoundError), match=r"folder.*store of scores"):
        PatchStore.open(str(folder), CONTENT)
    assert locate(folder).walk() == locate(before).walk()


def test_a_store_of_something_else_or_of_another_format_is_refused(
    store: PatchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="expected a store of ranks in format 1, got scores in format 1"):
        PatchStore.open(store.place.url, "ranks")
    monkeypatch.setattr(patch_store, "FORMAT", 2)
    with pytest.raises(ValueError, match="expected a store of scores in format 2, got scores in format 1"):
        PatchStore.create_or_open(store.place.url, CONTENT, SETTINGS)


def test_where_there_is_no_store_nothing_is_made_by_looking(location: Location) -> None:
    with pytest.raises(FileNotFoundError, match="no store of scores there"):
        PatchStore.open(location.url, CONTENT)
    assert location.walk() == []


def test_a_sweep_removes_what_killed_writers_left_and_nothing_else(local_store: PatchStore) -> None:
    write(local_store)
    before = local_store.place.walk()
    root = Path(local_store.place.url)
    (root / "books" / "drivers").mkdir()
    for stray in (".zarr.json.1a2b.tmp", "shards/.zarr.json.1a2b.tmp", "books/.shards.json.1a2b.tmp"):
        (root / stray).write_bytes(b"half")
    for kind in ("records", "drivers"):
        (root / "books" / kind / ".a.json.1a2b.tmp").write_bytes(b"half")
    local_store.sweep()
    assert local_store.place.walk() == before

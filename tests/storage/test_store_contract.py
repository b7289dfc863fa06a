"""What a store promises on every kind of location: a shard is done with all its data or not at all."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from unreliable_s3 import begin_upload

from storage import driver_lock, patch_store
from storage.books import Failure, LeftOut
from storage.driver_lock import DriverLock, StoreBusy
from storage.locations import Location, locate
from storage.patch_store import PatchStore, Settings
from storage.shard_index import ShardEntry
from storage.verification import verify_shards

CONTENT = "scores"
SETTINGS: Settings = {"patches": 16, "masks.ratio": 0.9}
SHARDS = ["a", "b"]
CHANGES = ("write", "create", "delete")


def arrays_of(shard: str, rows: int = 3) -> dict[str, np.ndarray]:
    return {"score": np.random.default_rng(ord(shard)).random((rows, 4), np.float32)}


def write(store: PatchStore, shard: str, **others: np.ndarray) -> None:
    store.write_shard(
        shard,
        {**arrays_of(shard), **others},
        samples=4,
        left_out=[LeftOut("bad", "truncated")],
        tar_bytes=10240,
        tar_md5=shard * 32,
    )


def entries(shards: Iterable[str] = SHARDS) -> list[ShardEntry]:
    return [ShardEntry(f"/tars/{shard}.tar", 4, 10240, shard * 32) for shard in shards]


def verify(store: PatchStore) -> dict[str, tuple[str, ...]]:
    """What is wrong, by shard, noted in the books as the command does."""
    found = {}
    for each in verify_shards(store, lambda arrays, _: (len(arrays["score"]), [])):
        store.books.mark_damaged(each.shard, list(each.findings))
        if each.findings:
            found[each.shard] = each.findings
    return found


def run(url: str) -> PatchStore:
    """What a run does to a store: it opens it, and writes what is not done."""
    store = PatchStore.create_or_open(url, CONTENT, SETTINGS)
    with DriverLock(store.place):
        store.sweep()
        store.books.open_for(entries())
        for shard in SHARDS:
            if shard not in store.books.done():
                write(store, shard)
    return store


def files(place: Location) -> dict[str, bytes]:
    return {path: place.read(path) for path in place.walk()}


class Watched:
    """A location that notes what is asked of it."""

    def __init__(self, place: Location) -> None:
        self._place = place
        self.asked: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        asked_for = getattr(self._place, name)
        if not callable(asked_for):
            return asked_for

        def ask(path: str = "", *data: bytes) -> Any:
            self.asked.append((name, path))
            return asked_for(path, *data)

        return ask


class Died(BaseException):
    """Stands for a SIGKILL: nothing in the program catches it."""


class DyingPlace(Watched):
    """A location whose user dies in the middle of a change, after so many that succeed."""

    def __init__(self, place: Location, changes: int) -> None:
        super().__init__(place)
        self._left = changes

    def __getattr__(self, name: str) -> Any:
        ask = super().__getattr__(name)
        if name not in CHANGES:
            return ask

        def change(path: str, *data: bytes) -> Any:
            if self._left <= 0:
                if not self._left and data:
                    leave_half(self._place, path, data[0])
                self._left = -1
                raise Died
            self._left -= 1
            return ask(path, *data)

        return change


def leave_half(place: Location, path: str, data: bytes) -> None:
    """As far as a killed writer gets: half a temporary file, or an upload that never ends."""
    if folder := place.local_path():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_name(f".{target.name}.dead.tmp").write_bytes(data[: len(data) // 2])
    elif not place.url.startswith("memory"):
        begin_upload(place.url, path, data[: len(data) // 2])


def bury_drivers(place: Location) -> None:
    """Makes the drivers' files those of a process that is gone: here they died, and their process lives."""
    for name in place.names("books/drivers"):
        state = json.loads(place.read(f"books/drivers/{name}"))
        place.write(f"books/drivers/{name}", json.dumps({**state, "process_started": "1"}).encode())


def prepare(place: Location) -> None:
    """A store with a damaged shard that holds a file too many, and one that failed."""
    store = PatchStore.create_or_open(place.url, CONTENT, SETTINGS)
    store.books.open_for(entries())
    write(store, "a", older=np.zeros(3))
    place.write("shards/a/score/c/0/0", b"junk")
    store.books.mark_damaged("a", ["score/c/0/0: damaged"])
    store.books.set_aside(Failure("b", 3, "truncated"))


def restore(place: Location, content: dict[str, bytes]) -> None:
    if folder := place.local_path():  # where an empty folder would stay
        shutil.rmtree(folder)
        folder.mkdir()  # a folder that was there and is gone would not be made anew
    for path in place.walk():
        if path not in content:
            place.delete(path)
    for path, data in content.items():
        if not place.exists(path) or place.read(path) != data:
            place.write(path, data)


@pytest.mark.parametrize(
    ("location", "begun"),
    [("local", False), ("memory", False), ("s3", False), ("local", True), ("memory", True)],
    indirect=["location"],
)
def test_dying_at_any_change_and_running_again_gives_the_store_of_an_undisturbed_run(
    begun: bool, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    if begun:
        prepare(location)
    before = files(location)
    run(location.url)
    undisturbed = files(location)
    assert PatchStore.open(location.url, CONTENT).books.done() == set(SHARDS)
    deaths = 0
    while True:
        restore(location, before)
        with monkeypatch.context() as patch:
            patch.setattr(patch_store, "locate", lambda _, changes=deaths: DyingPlace(location, changes))
            try:
                run(location.url)
                break  # it outlived its time
            except Died:
                deaths += 1
        bury_drivers(location)
        assert_done_is_whole(location, begun)
        run(location.url)
        assert files(location) == undisturbed, f"after dying at change {deaths}"
    assert deaths >= (18 if begun else 13)


def assert_done_is_whole(place: Location, begun: bool) -> None:
    """What counts as done is read as it must be, and what was never done is not read at all."""
    if not place.exists("zarr.json"):
        return
    store = PatchStore.open(place.url, CONTENT)
    done = store.books.done()
    for shard in SHARDS:
        if shard in done:
            np.testing.assert_array_equal(store.read_shard(shard)["score"], arrays_of(shard)["score"])
        elif not begun:
            with pytest.raises(FileNotFoundError):
                store.read_shard(shard)


def test_a_run_writes_data_before_records_and_lists_nothing_but_books_and_the_shards_it_writes(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(location)
    watched = Watched(location)
    monkeypatch.setattr(patch_store, "locate", lambda _: watched)
    run(location.url)
    acts = {"read", "read_stamped", "names", "stamps", "exists", *CHANGES, "local_path"}
    assert {act for act, _ in watched.asked} <= acts
    looked_for = Counter(path for act, path in watched.asked if act == "exists")
    # Whether the disk tells capitals apart, once; whether the store is still there, before and after each shard's
    # files; whether a mark of damage is there to be withdrawn.
    marks = {f"books/damaged/{shard}.json": 1 for shard in SHARDS}
    assert looked_for == {"ZARR.JSON": 1, "zarr.json": 2 * len(SHARDS), **marks}
    # Before a record and after it; once more where it takes the place of another.
    assert Counter(path for act, path in watched.asked if act == "stamps") == {"shards/a": 3, "shards/b": 2}
    listed = {path for act, path in watched.asked if act == "names"}
    assert listed == {"books/drivers", "books/records", "books/damaged", "books/failures"}
    for shard in SHARDS:
        changed = [
            path
            for act, path in watched.asked
            if act in CHANGES and (path.startswith(f"shards/{shard}/") or path == f"books/records/{shard}.json")
        ]
        assert changed[-1] == f"books/records/{shard}.json"
        # Created, if nothing is there, and else replaced.
        assert Counter(changed)[changed[-1]] == (2 if shard == "a" else 1)
        assert len(changed) > 3
    assert watched.asked.count(("write", "books/shards.json")) == 1


def test_books_tell_done_failed_and_damaged_apart(location: Location) -> None:
    prepare(location)
    books = PatchStore.open(location.url, CONTENT).books
    assert (books.done(), books.recorded(), books.damaged()) == (set(), {"a"}, {"a"})
    assert books.failures() == [Failure("b", 3, "truncated")]
    run(location.url)
    assert (books.done(), books.damaged(), books.failures()) == (set(SHARDS), set(), [])


def test_verify_finds_each_damage_and_the_next_run_repairs_it(location: Location) -> None:
    store = run(location.url)
    whole = files(location)
    assert verify(store) == {}
    location.write("shards/a/score/c/0/0", whole["shards/a/score/c/0/0"][:-1])
    location.write("shards/a/more", b"")
    location.delete("shards/b/score/zarr.json")
    found = verify(store)
    assert {shard: len(findings) for shard, findings in found.items()} == {"a": 2, "b": 1}
    assert f"{location.url}/shards/a/more: no file of this shard" in found["a"]
    assert found["b"] == (f"{location.url}/shards/b/score/zarr.json: missing",)
    assert store.books.done() == set()
    run(location.url)
    assert files(location) == whole
    assert verify(store) == {}


def test_settings_and_contents_other_than_the_stores_are_refused_without_a_change(location: Location) -> None:
    run(location.url)
    before = files(location)
    with pytest.raises(ValueError, match=r"masks.ratio: 0.9 in the store, 0.75 now"):
        PatchStore.create_or_open(location.url, CONTENT, {**SETTINGS, "masks.ratio": 0.75})
    with pytest.raises(ValueError, match="expected a store of ranks"):
        PatchStore.create_or_open(location.url, "ranks", SETTINGS)
    assert files(location) == before


def test_a_second_run_is_refused_while_the_first_lives(location: Location) -> None:
    store = run(location.url)
    with DriverLock(store.place), pytest.raises(StoreBusy, match="another driver works on it"):
        run(location.url)
    assert location.names("books/drivers") == []


def test_a_second_run_elsewhere_waits_once_and_says_what_for(
    location: Location, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(driver_lock, "PATIENCE_SECONDS", 0.01)
    run(location.url)
    state = driver_lock.DriverState("node-7/1a2b3c4d/1", 4711, "99", 7, 0.0, ())
    location.write("books/drivers/000001.json", json.dumps(vars(state)).encode())
    run(location.url)
    (said,) = (each.getMessage() for each in caplog.records if each.name == "storage.driver_lock")
    assert said.startswith(f"{location.url}: a driver on another machine (process 4711 on node-7/1a2b3c4d/1) ")
    assert "waiting 0 s to see whether it lives" in said


def test_access_is_proved_and_leaves_nothing(location: Location) -> None:
    store = run(location.url)
    before = files(location)
    store.check_access()
    assert files(location) == before
    assert locate(location.url).walk() == sorted(before)

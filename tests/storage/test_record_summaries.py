"""Summaries save reading records and change nothing: sums are those of the records as they are, whatever happened."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.commands.status import status
from pipeline.commands.verify import verify
from storage import record_summaries
from storage.books import Books, LeftOut, ShardRecord
from storage.contents import CONTENTS
from storage.locations import Location, locate
from storage.patch_store import PatchStore
from storage.record_summaries import FOLDER, RunSummaries, Tally, count_records
from storage.shard_index import ShardEntry
from storage.store_status import read_status

REASONS = ("truncated", "no image", "Grüße")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_summaries, "LEAST", 2)
    monkeypatch.setattr(record_summaries, "MOST", 5)


@pytest.fixture
def books(location: Location) -> Books:
    return Books(location)


def record(shard: str, scored: int = 3, *reasons: str) -> ShardRecord:
    left_out = tuple(LeftOut(f"bad{number}", reason) for number, reason in enumerate(reasons))
    return ShardRecord(shard, scored + len(reasons), scored, left_out, 10240, "0" * 32, {})


def fill(books: Books, count: int = 8) -> None:
    for number in range(count):
        books.close(record(f"tar-{number}", number, *REASONS[: number % 3]))


def counted(books: Books) -> Tally:
    stamps, damaged = books.stamps(), books.damaged()
    return count_records(books, {name: stamp for name, stamp in stamps.items() if name not in damaged}, lambda _: None)


def sums(tally: Tally) -> tuple[int, int, Counter[str], list[str]]:
    return tally.samples, tally.scored, tally.reasons, sorted(tally.skipping)


def read_each(books: Books) -> tuple[int, int, Counter[str], list[str]]:
    """The same, as it was before there were summaries."""
    records = [books.record(name) for name in books.done()]
    reasons = Counter(sample.reason for each in records for sample in each.left_out)
    skipping = sorted(each.shard for each in records if each.left_out)
    return sum(each.samples for each in records), sum(each.scored for each in records), reasons, skipping


def test_what_was_summarised_is_not_read_again(books: Books) -> None:
    fill(books)
    assert (sums(counted(books)), counted(books).summarised) == (read_each(books), 8)
    books.close(record("tar-8", 7, "truncated"))
    assert (sums(counted(books)), counted(books).summarised) == (read_each(books), 8)
    assert len(books.place.names(FOLDER)) == 2


def test_few_records_are_not_summarised(books: Books) -> None:
    fill(books, 1)
    assert sums(counted(books)) == read_each(books)
    assert books.place.names(FOLDER) == []


def rewrite(books: Books) -> None:
    books.close(record("tar-3", 9, "no image"))


def rewrite_as_large(books: Books) -> None:
    books.close(record("tar-3", 5))
    books.close(record("tar-3", 4))


def remove(books: Books) -> None:
    books.place.delete("books/records/tar-3.json")


def mark(books: Books) -> None:
    books.mark_damaged("tar-3", ["score: damaged"])


def change_most(books: Books) -> None:
    for number in range(7):
        books.close(record(f"tar-{number}", 20 + number, "truncated"))


@pytest.mark.parametrize("change", [rewrite, rewrite_as_large, remove, mark, change_most])
def test_an_old_summary_counts_nothing_that_changed(books: Books, change: Callable[[Books], None]) -> None:
    fill(books)
    counted(books)
    change(books)
    assert sums(counted(books)) == read_each(books)
    assert sums(counted(books)) == read_each(books)


def cut(data: bytes) -> bytes:
    return data[:-1]


def other_counts(data: bytes) -> bytes:
    return data.replace(b'"samples":[0', b'"samples":[9')


def nothing(_: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [cut, other_counts, nothing])
def test_a_damaged_summary_is_not_believed_and_made_anew(books: Books, damage: Callable[[bytes], bytes]) -> None:
    fill(books)
    counted(books)
    for name in books.place.names(FOLDER):
        books.place.write(f"{FOLDER}/{name}", damage(books.place.read(f"{FOLDER}/{name}")))
    assert sums(counted(books)) == read_each(books)
    assert counted(books).summarised == 8


@pytest.mark.parametrize("content", [b"[]", b'{"names":["tar-3"]}', b'{"names":3}', b"[" * 100_000, b"\xff"])
def test_what_is_no_summary_is_not_believed_although_its_name_fits(books: Books, content: bytes) -> None:
    fill(books)
    books.place.write(f"{FOLDER}/{hashlib.sha256(content).hexdigest()}.json", content)
    books.place.write(f"{FOLDER}/notes.txt", content)
    assert sums(counted(books)) == read_each(books)


class DiedError(BaseException):
    """Stands for a SIGKILL."""


class Dying:
    """A location whose user dies at one of its changes."""

    def __init__(self, place: Location, changes: int) -> None:
        self._place, self._left = place, changes

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._place, name)
        if name not in ("write", "create", "delete"):
            return found

        def change(*arguments: Any) -> Any:
            if self._left <= 0:
                raise DiedError
            self._left -= 1
            return found(*arguments)

        return change


def one_of_many(books: Books, draw: random.Random) -> None:
    """What somebody, somewhere, does next to a store of twelve shards."""
    shard = f"tar-{draw.randrange(12)}"
    new = record(shard, draw.randrange(4), *draw.choices(REASONS, k=draw.randrange(3)))
    act = draw.choice(["close", "close", "close", "remove", "mark", "count", "run", "forget one", "die"])
    if act == "close":
        books.close(new)
    elif act == "remove":
        books.place.delete(f"books/records/{shard}.json")
    elif act == "mark":
        books.mark_damaged(shard, draw.choice([[], ["damaged"]]))
    elif act == "count":
        counted(books)
    elif act == "run":
        with RunSummaries(books) as summaries:
            for number in range(draw.randrange(8)):
                done = f"tar-{number}"
                books.close(record(done, draw.randrange(4)))
                summaries.add(done)
    elif names := books.place.names(FOLDER):
        if act == "forget one":
            books.place.delete(f"{FOLDER}/{draw.choice(names)}")
    elif act == "die":
        place: Any = Dying(books.place, draw.randrange(3))
        with suppress(DiedError):
            counted(Books(place))


@pytest.mark.parametrize("location", ["local", "memory"], indirect=True)
@pytest.mark.parametrize("seed", range(6))
def test_sums_are_those_of_the_records_whatever_anybody_does_in_any_order(books: Books, seed: int) -> None:
    draw = random.Random(seed)
    summarised = 0
    for _ in range(60):
        one_of_many(books, draw)
        if draw.random() < 0.4:
            found = counted(books)
            summarised += found.summarised
            assert sums(found) == read_each(books)
    assert summarised > 20


def a_store(url: str) -> PatchStore:
    store = PatchStore.create_or_open(url, "scores", {"patches": 4})
    fill(store.books)
    store.books.open_for(ShardEntry(f"/tars/tar-{number}.tar") for number in range(8))
    return store


def test_status_says_the_same_with_summaries_and_without_and_lists_what_was_skipped(location: Location) -> None:
    store = a_store(location.url)
    first, second = (read_status(store, CONTENTS["scores"], list_skipped=True) for _ in range(2))
    assert location.names(FOLDER)
    assert first == second
    assert (first.samples, first.computed, len(first.skipped_samples or ())) == (35, 28, 7)


def test_status_of_a_store_that_can_only_be_read_is_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_store(str(tmp_path))
    told = CliRunner().invoke(status, [str(tmp_path)]).output

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in locate(tmp_path).names(FOLDER):
        (tmp_path / FOLDER / name).write_bytes(b"junk")
    for act in ("write", "delete"):
        monkeypatch.setattr(f"storage.local_files.LocalFiles.{act}", refuse)
    result = CliRunner().invoke(status, [str(tmp_path)])
    assert (result.exit_code, result.output) == (0, told)


def test_verify_takes_no_summary_for_granted(tmp_path: Path) -> None:
    store = a_store(str(tmp_path))
    counted(store.books)
    assert locate(tmp_path).names(FOLDER)
    CliRunner().invoke(verify, [str(tmp_path)])
    assert locate(tmp_path).names(FOLDER) == []

"""Which shards a store is meant to hold, and which are done, failed or damaged."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import Any

import pytest

from storage import many_reads
from storage.books import Books, Failure, LeftOut, ShardRecord
from storage.locations import Location
from storage.shard_index import ShardEntry


def record(shard: str, scored: int = 3, *left_out: LeftOut) -> ShardRecord:
    samples = scored + len(left_out)
    return ShardRecord(shard, samples, scored, left_out, 10240, "0" * 32, {"zarr.json": "1" * 64})


def entry(shard: str, **facts: Any) -> ShardEntry:
    return ShardEntry(f"/tars/{shard}.tar", **facts)


@pytest.fixture
def books(location: Location) -> Books:
    return Books(location)


@pytest.mark.parametrize("samples", [4, 6])
def test_a_record_of_more_or_fewer_samples_than_the_tar_has_cannot_be_made(samples: int) -> None:
    left_out = (LeftOut("bad", "truncated"), LeftOut("worse", "zero bytes"))
    message = rf"sample counts do not add up: {samples} samples in the tar, 3 scored and 2 skipped"
    with pytest.raises(ValueError, match=message):
        ShardRecord("a", samples, 3, left_out, 1, "", {})


def test_a_record_is_read_back_as_written(books: Books) -> None:
    written = record("tar-0", 3, LeftOut("Grüße/写真", 'cannot be read: "x"'))
    books.close(written)
    assert books.record("tar-0") == written
    assert list(books.records()) == [written]


def test_a_shard_is_done_with_its_record_and_only_then(books: Books) -> None:
    books.open_for([entry("a"), entry("b")])
    assert books.done() == set()
    books.close(record("b"))
    assert books.done() == books.recorded() == {"b"}


def test_records_come_in_order_of_name_however_many(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_reads, "BATCH", 3)
    monkeypatch.setattr(many_reads, "AT_A_TIME", 2)
    names = [f"tar-{number}" for number in range(7)]
    for name in reversed(names):
        books.close(record(name))
    assert [each.shard for each in books.records()] == names


def test_shards_that_are_done_stay_in_the_books_and_others_only_while_they_are_asked_for(
    books: Books,
) -> None:
    books.open_for([entry("a"), entry("b"), entry("c")])
    books.close(record("a"))
    books.open_for([entry("d"), entry("c")])
    assert [shard.name for shard in books.shards()] == ["a", "c", "d"]
    books.open_for([])
    assert [shard.name for shard in books.shards()] == ["a"]


def test_what_an_index_says_of_a_shard_is_noted_and_updated(books: Books) -> None:
    books.open_for([entry("a")])
    books.close(record("a"))
    known = entry("a", nsamples=3, filesize=10240, md5sum="0" * 32)
    books.open_for([known])
    assert books.shards() == [known]
    books.open_for([known])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"md5sum": "1" * 32}, f"expected md5 {'0' * 32}, its index says {'1' * 32}"),
        ({"filesize": 20480}, "expected bytes 10240, its index says 20480"),
        ({"nsamples": 4}, "expected samples 3, its index says 4"),
        ({"nsamples": 0}, "expected samples 3, its index says 0"),
    ],
)
def test_a_tar_that_changed_after_it_was_scored_is_refused(books: Books, changed: dict[str, Any], message: str) -> None:
    known = entry("a", nsamples=3, filesize=10240, md5sum="0" * 32)
    books.open_for([known])
    books.close(record("a"))
    with pytest.raises(ValueError, match=rf"/tars/a\.tar: has changed since it was read: {message}"):
        books.open_for([entry("b"), dataclasses.replace(known, **changed)])
    assert books.shards() == [known]


def test_a_tar_that_changed_before_it_was_scored_is_taken_as_it_is(books: Books) -> None:
    books.open_for([entry("a", md5sum="0" * 32)])
    books.open_for([entry("a", md5sum="1" * 32)])
    assert books.shards() == [entry("a", md5sum="1" * 32)]


def test_a_failure_is_listed_until_the_shard_is_done_or_forgotten(books: Books) -> None:
    books.open_for([entry("a"), entry("b"), entry("c")])
    failures = {name: Failure(name, 3, f"{name}: truncated, «кратко»") for name in "cab"}
    for failure in failures.values():
        books.set_aside(failure)
    assert books.failures() == [failures["a"], failures["b"], failures["c"]]
    books.close(record("b"))
    assert books.failures() == [failures["a"], failures["c"]]
    books.open_for([entry("c")])
    assert books.failures() == [failures["c"]]


def test_a_damaged_shard_is_not_done_until_it_is_done_again_or_found_whole(books: Books) -> None:
    for name in "ab":
        books.close(record(name))
        books.mark_damaged(name, ["score/c/0: missing"])
    assert (books.done(), books.recorded(), books.damaged()) == (set(), {"a", "b"}, {"a", "b"})
    assert list(books.records()) == []
    books.close(record("a"))
    books.mark_damaged("b", [])
    assert (books.done(), books.damaged()) == ({"a", "b"}, set())


def test_without_books_nothing_is_done(books: Books) -> None:
    assert books.shards() == books.failures() == list(books.records()) == []
    assert books.done() == books.damaged() == set()
    with pytest.raises(FileNotFoundError):
        books.record("a")


WHOLE = json.loads(json.dumps(dataclasses.asdict(record("a", 3, LeftOut("bad", "truncated")))))


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xff",
        json.dumps(WHOLE).encode()[:-9],
        b"[]",
        b"null",
        *(json.dumps({**WHOLE, **wrong}).encode() for wrong in (
            {"shard": "b"},
            {"samples": 7},
            {"scored": "3"},
            {"left_out": [["bad", "truncated"]]},
            {"files": None},
            {"files": {"zarr.json": 1}},
        )),
    ],
)  # fmt: skip
def test_a_damaged_record_is_named(books: Books, damaged: bytes) -> None:
    books.close(record("a", 3, LeftOut("bad", "truncated")))
    books.place.write("books/records/a.json", damaged)
    for read in (lambda: books.record("a"), lambda: list(books.records())):
        with pytest.raises(ValueError, match=r"books/records/a\.json: ") as caught:
            read()
        assert books.place.url in str(caught.value)


@pytest.mark.parametrize("damaged", [b"", b"{}", b'[{"nsamples": 3}]', b'[{"url": 3}]'])
def test_a_damaged_list_of_shards_and_a_damaged_failure_are_named(books: Books, damaged: bytes) -> None:
    books.place.write("books/shards.json", damaged)
    with pytest.raises(ValueError, match=r"books/shards\.json: damaged"):
        books.shards()
    books.place.write("books/failures/a.json", damaged)
    (failure,) = books.failures()  # `status` goes on to the next
    assert (failure.shard, failure.attempts) == ("a", 0)
    assert f"{books.place.url}/books/failures/a.json: damaged" in failure.reason


class Counting:
    """A location that counts the calls to it."""

    def __init__(self, place: Location) -> None:
        self._place = place
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self._place, name)


def test_what_is_done_is_found_by_listings_alone_whatever_the_number_of_shards(books: Books) -> None:
    for number in range(20):
        books.close(record(f"tar-{number}"))
    books.mark_damaged("tar-3", ["score/c/0: missing"])
    counting = Counting(books.place)
    assert len(Books(counting).done()) == 19  # type: ignore[arg-type]
    assert counting.calls == {"names": 2}


def test_opening_the_books_tells_what_is_done_and_lists_the_records_once(books: Books) -> None:
    for name in "abc":
        books.close(record(name))
    books.mark_damaged("b", ["score/c/0: missing"])
    listed: list[str] = []

    class Watching(Counting):
        def names(self, prefix: str) -> list[str]:
            listed.append(prefix)
            return self._place.names(prefix)

    assert Books(Watching(books.place)).open_for([entry("a"), entry("d")]) == books.done() == {"a", "c"}  # type: ignore[arg-type]
    assert listed.count("books/records") == 1


def test_records_of_shards_that_are_known_to_be_done_are_read_without_a_listing(books: Books) -> None:
    for name in "abc":
        books.close(record(name))
    counting = Counting(books.place)
    assert [each.shard for each in Books(counting).records({"c", "a"})] == ["a", "c"]  # type: ignore[arg-type]
    assert counting.calls == {"read_stamped": 2}


def test_a_failure_that_is_withdrawn_while_it_is_looked_at_is_passed_over(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.set_aside(Failure("a", 3, "truncated"))
    monkeypatch.setattr(books, "_listed", lambda kind: {"a", "withdrawn"})
    assert books.failures() == [Failure("a", 3, "truncated")]


def test_a_record_does_not_count_before_the_damage_of_the_old_one_is_withdrawn(books: Books) -> None:
    """Dying between any two steps of closing leaves the shard to be done again, or done."""
    books.close(record("a"))
    books.mark_damaged("a", ["score/c/0: missing"])
    books.set_aside(Failure("a", 3, "truncated"))
    seen: list[tuple[str, bool]] = []

    class Watching(Counting):
        def __getattr__(self, name: str) -> Any:
            if name in ("write", "delete"):
                seen.append((name, "a" in books.done()))
            return super().__getattr__(name)

    Books(Watching(books.place)).close(record("a"))  # type: ignore[arg-type]
    assert seen == [("delete", False), ("write", False), ("delete", False)]
    assert books.done() == {"a"}
    assert books.failures() == []

"""Two workers write the same shard with other bits, in any order, and one of them may die: what counts as done is
wholly of one of them."""

from __future__ import annotations

import itertools
import random
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from storage import shard_commit
from storage.books import LeftOut
from storage.locations import Location
from storage.patch_store import PatchStore
from storage.verification import verify_shards

CONTENT = "scores"
SETTINGS = {"patches": 4}
WRITERS = {
    "first": np.array([[0.25, 0.5]], np.float32),
    "second": np.array([[0.25000003, 0.5]], np.float32),
    "dead": np.array([[0.24999999, 0.5]], np.float32),
}
"""What each computes on its own hardware."""


class DiedError(BaseException):
    """Stands for a SIGKILL: nothing in the program catches it."""


class Turns:
    """Lets two threads ask a location in a given order, one question at a time; who has ended loses its turns."""

    def __init__(self, order: Iterable[str], names: tuple[str, ...]) -> None:
        self._order = iter(order)
        self._left = set(names)
        self._changed = threading.Condition()
        self._now = self._next()

    def _next(self) -> str | None:
        """None, after which all may ask at any time, when the order or the writers have come to their end."""
        return next((name for name in self._order if name in self._left), None) if self._left else None

    def take(self, name: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._now in (name, None))

    def give(self) -> None:
        with self._changed:
            self._now = self._next()
            self._changed.notify_all()

    def leave(self, name: str) -> None:
        with self._changed:
            self._left.discard(name)
            if self._now == name:
                self._now = self._next()
            self._changed.notify_all()


class TakingTurns:
    """A location whose user waits for its turn before each question, and dies at one of them."""

    def __init__(self, place: Location, name: str, turns: Turns, dies_at: int | None) -> None:
        self._place, self._name, self._turns, self._dies_at = place, name, turns, dies_at
        self.asked = 0

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._place, attribute)
        if not callable(found):
            return found

        def ask(*arguments: Any) -> Any:
            self._turns.take(self._name)
            try:
                self.asked += 1
                if self.asked - 1 == self._dies_at:
                    raise DiedError
                return found(*arguments)
            finally:
                self._turns.give()

        return ask


def write(store: PatchStore, name: str, *, yields: bool = True) -> None:
    arrays = {"score": WRITERS[name]}
    store.write_shard("a", arrays, samples=2, left_out=[LeftOut("bad", "no")], tar_bytes=1, tar_md5="0", yields=yields)


def write_together(store: PatchStore, order: Iterable[str], dies_at: int | None) -> int:
    """Both write as `order` has it, the first up to its death; returns how often that one asked the store."""
    names = ("first", "second")
    turns = Turns(order, names)
    places = {name: TakingTurns(store.place, name, turns, dies_at if name == "first" else None) for name in names}

    def work(name: str) -> None:
        place: Any = places[name]
        try:
            write(PatchStore(place, CONTENT, store.settings), name)
        except (DiedError, ValueError):
            pass
        finally:
            turns.leave(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return places["first"].asked


def switched(first: int, second: int) -> Iterator[str]:
    """The first asks so often, then the second, and so on by turns."""
    yield from ["first"] * first + ["second"] * second
    yield from itertools.cycle(["first"] * max(1, first) + ["second"] * max(1, second))


def drawn(seed: int) -> Iterator[str]:
    draw = random.Random(seed)
    while True:
        yield from [draw.choice(["first", "second"])] * draw.randint(1, 4)


def state(store: PatchStore) -> str:
    """Whose values the store has, if the shard counts as done."""
    if not store.books.is_done("a"):
        return "not done"
    try:
        found = store.read_shard("a")["score"]
    except ValueError:
        return "refused"
    return next(name for name, values in WRITERS.items() if np.array_equal(found, values))


def fresh(url: str, leftovers: int) -> PatchStore:
    """A store; with `leftovers` of them a worker that died had written so many files of the shard."""
    store = PatchStore.create_or_open(url, CONTENT, SETTINGS)
    if leftovers:
        place: Any = TakingTurns(store.place, "dead", Turns([], ("dead",)), None)
        place._dies_at = 3 + leftovers
        with pytest.raises(DiedError):
            write(PatchStore(place, CONTENT, store.settings), "dead")
    return store


def orders(kind: str) -> list[tuple[Any, int | None]]:
    """Each with the question at which the first dies, if at all: many where asking costs nothing."""
    many = kind == "memory"
    steps = range(0, 18, 3 if many else 9)
    deaths = range(0, 24, 3 if many else 12)
    switches = itertools.product(steps, steps)
    some = [((i, j), death) for i, j in switches for death in (None, deaths[(i + j) % len(deaths)])]
    return [*some, *itertools.product(range(6 if many else 1), (None, *deaths))]


def test_a_worker_that_comes_too_late_changes_nothing_and_is_told_the_record_that_stands(location: Location) -> None:
    store = PatchStore.create_or_open(location.url, CONTENT, SETTINGS)
    write(store, "first")
    before = {path: store.place.read_stamped(path) for path in store.place.walk()}
    write(store, "second")
    assert {path: store.place.read_stamped(path) for path in store.place.walk()} == before
    write(store, "second", yields=False)  # who asks for it replaces what is done
    assert state(store) == "second"
    assert store.books.damaged() == set()


@pytest.fixture
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_commit, "PAUSE_SECONDS", 0.0)


@pytest.mark.parametrize("leftovers", [0, 2, 3])
@pytest.mark.parametrize("kind", ["memory", "local", "s3"])
@pytest.mark.usefixtures("_no_pause")
def test_of_two_writers_of_other_bits_one_counts_and_no_mixture_is_read(
    kind: str, leftovers: int, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    root = {"memory": f"memory://{uuid.uuid4().hex}", "local": str(tmp_path)}.get(kind) or (
        f"{request.getfixturevalue('s3_bucket')}/{uuid.uuid4().hex}"
    )
    seen = set()
    for number, (order, dies_at) in enumerate(orders(kind)):
        store = fresh(f"{root}/{number}", leftovers)
        write_together(store, drawn(order) if isinstance(order, int) else switched(*order), dies_at)
        found = state(store)
        seen.add(found)
        assert found in {"first", "second", "not done"} or (found == "refused" and dies_at is not None), order
        if found == "refused":  # one died as it put a file in place of another's, which had just come to its end
            (told,) = verify_shards(store, check)
            assert told.findings
            store.books.mark_damaged("a", list(told.findings))
        write(store, "second")  # the next run, of what is not done
        assert state(store) == (found if found in WRITERS else "second"), (order, dies_at)
        assert [each.findings for each in verify_shards(store, check)] == [()]
        assert store.books.damaged() == set()
    assert seen >= {"first", "second"}


def check(arrays: Any, _: object) -> tuple[int, list[str]]:
    return len(arrays["score"]), []


@pytest.mark.usefixtures("_no_pause")
def test_files_that_another_changes_all_the_time_are_never_recorded(tmp_path: Any) -> None:
    store = PatchStore.create_or_open(str(tmp_path), CONTENT, SETTINGS)
    listed = store.place.stamps

    def changed_meanwhile(folder: str, cuts: Sequence[str] = ()) -> dict[str, str]:
        store.place.write("shards/a/score/c/0/0", b"of another, which is alive")
        return listed(folder, cuts)

    store.place.stamps = changed_meanwhile  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=f"^{tmp_path}/shards/a: another worker is writing other values into it$"):
        write(store, "first")
    assert store.books.recorded() == set()

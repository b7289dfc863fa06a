"""Prefetching changes when things are prepared, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

import pytest

from stages.compute.prefetch import prefetch


def threads_of_prefetch() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("prepare", "read"))]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert threads_of_prefetch() == []


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("ahead", [1, 4, 100])
def test_results_come_in_the_order_of_their_items(threads: int, ahead: int) -> None:
    def prepare(number: int) -> int:
        time.sleep(0.003 if number % 3 == 0 else 0)  # later ones are ready earlier
        return number**2

    found = prefetch(prepare, range(20), threads=threads, ahead=ahead)
    assert list(found) == [number**2 for number in range(20)]


def test_no_items_give_no_results() -> None:
    assert list(prefetch(abs, [], threads=2, ahead=2)) == []


def noting(numbers: Iterable[int], read: list[int]) -> Iterator[int]:
    for number in numbers:
        read.append(number)
        yield number


def test_nothing_is_read_before_the_first_result_is_asked_for() -> None:
    read: list[int] = []
    prefetch(abs, noting(range(3), read), threads=1, ahead=1)
    assert read == []


@pytest.mark.parametrize("ahead", [1, 3])
def test_what_is_read_in_advance_is_bounded(ahead: int) -> None:
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        for number in range(50):
            read += 1
            yield number

    for taken, _ in enumerate(prefetch(abs, items(), threads=2, ahead=ahead), start=1):
        time.sleep(0.002)  # time to read on
        # `ahead` that wait, and the one that the reading thread has in its hand
        assert read - taken <= ahead + 1


def test_items_are_prepared_while_earlier_ones_are_used() -> None:
    prepared = threading.Event()

    def prepare(number: int) -> int:
        if number == 2:
            prepared.set()
        return number

    for number in prefetch(prepare, range(3), threads=1, ahead=2):
        if number == 0:
            assert prepared.wait(10)


def test_an_error_in_preparing_comes_where_the_result_would_have() -> None:
    def prepare(number: int) -> int:
        if number == 3:
            raise ValueError("number 3 is broken")
        return number

    found: list[int] = []
    with pytest.raises(ValueError, match="number 3 is broken"):
        found.extend(prefetch(prepare, range(10), threads=2, ahead=4))  # keeps what came before the error
    assert found == [0, 1, 2]


def test_an_error_in_reading_comes_after_what_was_read_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(4)
        raise OSError("the tar is cut short")

    found: list[int] = []
    with pytest.raises(OSError, match="cut short"):
        found.extend(prefetch(abs, items(), threads=2, ahead=2))
    assert found == [0, 1, 2, 3]


@pytest.mark.parametrize("taken", [1, 3])
def test_who_stops_early_leaves_no_thread_and_reads_no_further(taken: int) -> None:
    read: list[int] = []
    endless = iter(int, 1)
    found = prefetch(abs, noting(endless, read), threads=2, ahead=2)
    for _ in range(taken):
        next(found)
    found.close()
    assert threads_of_prefetch() == []
    assert len(read) <= taken + 3


def test_an_error_of_the_user_leaves_no_thread() -> None:
    def use() -> float:
        return sum(1 / number for number in prefetch(abs, range(100), threads=2, ahead=2))

    with pytest.raises(ZeroDivisionError):
        use()
    assert threads_of_prefetch() == []

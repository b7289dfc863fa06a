"""Reading and preparing samples on threads while the model computes on earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


def prefetch(
    prepare: Callable[[Item], Prepared], items: Iterable[Item], *, threads: int, ahead: int
) -> Generator[Prepared, None, None]:
    """`map(prepare, items)` in order: `items` read on one thread, prepared on `threads`, about `ahead` in advance.

    An exception of `prepare` or of `items` is raised where its result would have come.
    """
    waiting: Queue[Future[Prepared] | None] = Queue(maxsize=ahead)
    stopped = Event()

    def put(future: Future[Prepared] | None) -> None:
        while not stopped.is_set():
            try:
                return waiting.put(future, timeout=0.1)
            except Full:
                continue

    def feed() -> None:
        try:
            for item in items:
                if stopped.is_set():
                    return
                put(pool.submit(prepare, item))
        except BaseException as error:  # raised to whoever waits for the result, on their thread
            failed: Future[Prepared] = Future()
            failed.set_exception(error)
            put(failed)
        put(None)

    with ThreadPoolExecutor(threads, thread_name_prefix="prepare") as pool:
        feeder = Thread(target=feed, name="read", daemon=True)
        feeder.start()
        try:
            while (future := waiting.get()) is not None:
                yield future.result()
        finally:
            stopped.set()
            feeder.join()

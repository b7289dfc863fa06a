"""A worker of a training that dies once, as if it had been killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from stages.training.processes import Processes


@contextmanager
def second_worker_dies(
    source: Any, number: int, processes: Processes, is_first_time: Callable[[], bool]
) -> Iterator[None]:
    """In batch `number` that it takes from the class `source`. `is_first_time` leaves a mark that outlives it."""
    batches = source.batches

    def dying(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for each, batch in enumerate(batches(self, *args, **kwargs)):
            if each == number and processes.rank == 1 and is_first_time():
                os._exit(1)
            yield batch

    source.batches = dying
    try:
        yield
    finally:
        source.batches = batches

"""What a stage that works shard by shard is: the engine in `pipeline/` knows no more of it than this."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Protocol

from storage.shard_index import ShardEntry


@dataclasses.dataclass(frozen=True)
class Receipt:
    """What a worker returns for a shard: its results are in the store."""

    shard: str
    samples: int
    scored: int
    left_out: Mapping[str, int]
    """How many samples were skipped for each reason."""


class ShardStage(Protocol):
    """Lives in one worker, processes one shard after the other. It is sent to the worker before `setup`, so that until
    then it holds no more than its settings."""

    name: str

    def setup(self, device: str, threads: int) -> None:
        """Loads what all shards need, once for each worker, onto `device` ("cpu" or "cuda")."""

    def process(self, shard: ShardEntry) -> Iterator[int | Receipt]:
        """Computes one shard: yields how many samples are through, now and then, and at last, when the results are
        committed, the receipt.

        Raises whatever made it fail; the engine tries again elsewhere.
        """

    def committed(self, shard: ShardEntry) -> Receipt | None:
        """The receipt of a shard whose results are in the store, else None. Asked where an earlier attempt was lost,
        which may have been at its very end."""

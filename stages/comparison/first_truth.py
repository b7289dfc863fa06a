"""Which truth the shards of a data set hold, as far as the first tar says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from stages.settings.choices import TaskName
from stages.settings.compare_methods import Truth
from stages.tasks.task import Task, TaskOptions
from storage.shard_files import read_shard
from storage.shard_index import ShardEntry

Name = TypeVar("Name", bound=str)
TASK_OF: dict[Truth, TaskName] = {"masks": "segment", "boxes": "detect"}
"""That reads what is covered."""


def first_truth(tasks: Mapping[Name, Task], shards: Sequence[ShardEntry], expected: str) -> Name:
    """The first of the tasks, by name, whose truth the first sample with any has. What only some samples lack is told
    when they are read.

    Raises ValueError, which begins with what was `expected` and ends with the first sample's reason, where no sample of
    the first tar has any.
    """
    options = TaskOptions(image_size=1)
    reason = "it has no sample"
    for number, sample in enumerate(read_shard(ShardEntry(shards[0].url))):
        for name, task in tasks.items():
            try:
                task.read_truth(sample, options)
            except ValueError as error:
                if number == 0:
                    reason = f"{sample.key}: {error}"
                continue
            return name
    raise ValueError(f"{expected}, got none in {shards[0].url}: {reason}")

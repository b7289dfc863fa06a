"""The truth of samples, with the numbers that a task knows its classes by."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING, Protocol

from stages.tasks.class_lists import Numbers
from stages.tasks.task import Task, TaskOptions, Truth

if TYPE_CHECKING:
    from storage.shard_files import Sample


class InTar(Protocol):
    """A sample and the name of its tar."""

    @property
    def tar(self) -> str: ...
    @property
    def sample(self) -> Sample: ...


class TruthReader:
    """Reads the truth of samples of tars whose numbers may mean other classes than the task's."""

    def __init__(self, task: Task, options: TaskOptions, numbers: Numbers) -> None:
        self.task, self.options, self.numbers = task, options, numbers
        self._options_of = cache(self._translated)

    def read(self, found: InTar) -> Truth:
        """Raises ValueError, without the sample's name, as `Task.read_truth`, and for a class that the task lacks."""
        renumbering = self.numbers.get(found.tar)
        if renumbering is None:
            return self.task.read_truth(found.sample, self.options)
        return self.task.renumber(self.task.read_truth(found.sample, self._options_of(found.tar)), renumbering)

    def _translated(self, tar: str) -> TaskOptions:
        """What is ignored, by the tar's numbers."""
        numbers = self.numbers[tar].numbers
        ignored = {id_ for id_, own in numbers.items() if own in self.options.ignore_classes}
        unnamed = set(self.options.ignore_classes) - set(numbers)
        return dataclasses.replace(self.options, ignore_classes=tuple(sorted(ignored | unnamed)))

"""The tasks, by name."""

from __future__ import annotations

from stages.settings.choices import TaskName
from stages.tasks.classify import Classify
from stages.tasks.detect import Detect
from stages.tasks.multilabel import Multilabel
from stages.tasks.segment import Segment
from stages.tasks.task import Task

TASKS: dict[TaskName, Task] = {
    "classify": Classify(),
    "multilabel": Multilabel(),
    "segment": Segment(),
    "detect": Detect(),
}

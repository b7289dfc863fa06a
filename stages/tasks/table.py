"""The tasks, by name."""

from __future__ import annotations

from typing import Literal

from stages.tasks.classify import Classify
from stages.tasks.detect import Detect
from stages.tasks.multilabel import Multilabel
from stages.tasks.segment import Segment
from stages.tasks.task import Task

TaskName = Literal["classify", "multilabel", "segment", "detect"]

TASKS: dict[TaskName, Task] = {
    "classify": Classify(),
    "multilabel": Multilabel(),
    "segment": Segment(),
    "detect": Detect(),
}

"""What lies behind the paths that settings of `evaluate-task` name: with other data there, a result is no longer
theirs."""

from __future__ import annotations

import hashlib
from typing import Any

from stages.samples.rank_source import open_source
from stages.samples.scored_by import scored_by
from stages.settings.evaluate_task import EvaluateTaskConfig
from stages.tasks.class_lists import digest, read_class_lists
from stages.tasks.excluded_classes import excluded_lines
from stages.tasks.models import MODEL_FILE
from stages.tasks.survey import read_class_names
from stages.tasks.task import Task
from storage.locations import locate
from storage.shard_checksum import checksum
from storage.shard_index import expand_shards


def evaluation_inputs(config: EvaluateTaskConfig, task: Task) -> dict[str, Any]:
    """JSON values, by what they are of; `task` is that of the model. Raises FileNotFoundError or ValueError for what is
    not there, or not as it must be."""
    source = open_source(config)
    shards = source.join(expand_shards(config.shards))
    return {
        "model": hashlib.sha256(
            locate(config.model).read(MODEL_FILE)
        ).hexdigest(),  # it has the checksum of the weights
        "shards": checksum(shards),
        "class_lists": digest(read_class_lists(task, shards)),
        "class_names": read_class_names(config.class_names) if config.class_names else None,
        "exclude_classes": excluded_lines(config.exclude_classes) if config.exclude_classes else None,
        "scored_by": scored_by(source),
    }

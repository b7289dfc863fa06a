"""What decides a model of a task: it stands in its folder, and only the same goes on there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from stages.settings.choices import Precision, TaskName
from stages.tasks.architecture import EncoderConfig
from stages.tasks.recipes import TaskRecipe
from stages.tasks.task import Classes, TaskOptions
from storage.settings import Settings
from storage.shard_checksum import checksum
from storage.shard_index import ShardEntry

METHOD_VERSION = 1
"""Goes up whenever the same settings come to mean another model."""
ENCODER_SETTINGS = ("image_size", "patch_size", "timm", "width", "depth", "heads", "drop_path")
"""Fields of its architecture that settings name; all others are the recipe's."""
ASYMMETRIC_SETTINGS = {"asymmetric_loss.weight": "detached"}
"""Of trainings with that loss: those that were begun without it had gradients through its weight."""


def stored_views(store: Settings) -> Settings:
    """`views` of a store of scores with these settings."""
    return {name: store[name] for name in ("views", "views.crop", "views.scale") if name in store}


FRESH_VIEWS: Settings = {"views": "fresh"}
"""`views` that are drawn and ranked as they come; the recipe says how."""


def task_settings(
    task: TaskName,
    recipe: TaskRecipe,
    options: TaskOptions,
    views: Settings,
    shards: Sequence[ShardEntry],
    start: str | None,
    architecture: EncoderConfig,
    classes: Classes,
    precision: Precision,
    *,
    flip: bool,
) -> Settings:
    """All that the models of one comparison have in common; no paths, devices or numbers of processes. `views` says
    which views of an image are trained on."""
    loss = options.multilabel_loss if task == "multilabel" else None
    return {
        "method": METHOD_VERSION,
        "task": task,
        **{f"encoder.{name}": getattr(architecture, name) for name in ENCODER_SETTINGS},
        # Named where tokens are dropped: earlier versions had no such encoders.
        **(architecture.dropping.settings() if architecture.dropping else {}),
        "init": start,
        **recipe.settings(),
        "flip": flip,
        "multilabel_loss": loss,
        **(ASYMMETRIC_SETTINGS if loss == "asymmetric" else {}),
        "ignore_classes": list(options.ignore_classes),
        # Named where there are some: earlier versions had none.
        **({"mask_values": {str(a): b for a, b in options.mask_values}} if options.mask_values else {}),
        "classes": hashlib.sha256(json.dumps([classes.ids, classes.names]).encode()).hexdigest(),
        "precision": precision,
        **views,
        "shards": len(shards),
        "shards.samples": sum(shard.nsamples or 0 for shard in shards),
        "shards.sha256": checksum(shards),
    }

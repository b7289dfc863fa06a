"""The settings of parts as people look at them: what differs from the defaults first."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticUndefined

from stages.density.decoded import decode_of
from stages.reporting.parts import Kind, Part
from stages.settings.pretrain_mae import PretrainMaeConfig
from stages.settings.rank import RankConfig
from stages.settings.score import ScoreConfig
from stages.settings.shard import ShardConfig
from stages.settings.stage_settings import StageSettings
from stages.settings.train_gfnet import TrainGfnetConfig
from stages.settings.train_ranker import TrainRankerConfig
from stages.settings.train_task import TrainTaskConfig
from storage.json_files import read_json_object
from storage.recognition import ATTRIBUTE
from storage.text import printable

CONFIGS: dict[Kind, type[StageSettings]] = {
    "shards": ShardConfig,
    "mae": PretrainMaeConfig,
    "scores": ScoreConfig,
    "ranker": TrainRankerConfig,
    "gfnet": TrainGfnetConfig,
    "ranks": RankConfig,
    "task": TrainTaskConfig,
}
FILES: dict[Kind, str] = {
    "shards": "sharding/plan.json",
    "mae": "pretraining.json",
    "ranker": "training.json",
    "gfnet": "training.json",
    "task": "training.json",
    "evaluation": "evaluation.json",
    "calibration": "calibration.json",
}
"""Where the settings stand; those of stores stand in zarr.json."""
NAMES = {
    "views.crop": "crop",
    "views.scale": "view_scale",
    "masks.kind": "masking",
    "masks.ratio": "mask_ratio",
    "masks.control": "control",
    "mae.image_size": "image_size",
    "mae.patch_size": "patch_size",
}
"""Of settings that are files' and of commands' where they differ."""
RUNS = ("select", "keep_ratio", "seed")
"""Of one run of many: they are asked for, and no departure."""
NO_CHOICE = ("precision", "warmup_epochs", "method")
"""What "auto" has come to, what follows from other settings, and versions."""
PATHS = ("shards", "scores", "ranks", "ranker", "mae", "out", "method")


@dataclasses.dataclass(frozen=True)
class Setting:
    name: str
    value: str
    default: str | None
    """None: it has no default, being a fact of data or models."""
    is_changed: bool


@dataclasses.dataclass(frozen=True)
class PartSettings:
    part: Part
    all: tuple[Setting, ...]

    @property
    def changed(self) -> list[Setting]:
        return [each for each in self.all if each.is_changed]


def read_settings(part: Part) -> dict[str, Any]:
    """What is noted with the part; nothing where nothing is. Raises ValueError for a file that cannot be read."""
    if part.kind in ("scores", "ranks"):
        ours = read_json_object(part.place, "zarr.json")["attributes"][ATTRIBUTE]
        stored = dict(ours["settings"])
        return {**stored, "decode": decode_of(stored)} if part.kind == "scores" else stored
    name = FILES.get(part.kind)
    if name is None or not part.place.exists(name):
        return {}
    found = read_json_object(part.place, name)
    if part.kind in ("evaluation", "calibration"):
        settings = found.get("settings")
        return dict(settings) if isinstance(settings, dict) else {}
    return found


def settings_shown(part: Part, settings: Mapping[str, Any]) -> PartSettings:
    defaults = _defaults(part.kind, settings)
    shown = []
    for name, value in settings.items():
        own = NAMES.get(name, name)
        has_default = own in defaults and value is not None and own not in PATHS
        default = defaults.get(own)
        changed = has_default and default is not None and own not in (*RUNS, *NO_CHOICE) and value != default
        shown.append(Setting(name, _told(value), _told(default) if has_default else None, changed))
    return PartSettings(part, tuple(shown))


def _defaults(kind: Kind, settings: Mapping[str, Any]) -> dict[str, Any]:
    """By the name of the command's setting; None where the data or a model decides it."""
    config = CONFIGS.get(kind)
    if config is None:
        return {}
    preset = next(iter(config.PRESETS.values()), None)
    own = dataclasses.asdict(preset) if dataclasses.is_dataclass(preset) and not isinstance(preset, type) else {}
    found = {
        name: own.get(name) if field.default is None else field.default
        for name, field in config.model_fields.items()
        if field.default is not PydanticUndefined
    }
    if kind == "mae":
        usual = PretrainMaeConfig(shards=["shards"], out="work").architecture()
        found |= dataclasses.asdict(usual)
        found |= {f"mae.{name}": value for name, value in dataclasses.asdict(usual).items()}
    if kind == "scores" and isinstance(settings.get("patches"), int):
        found["masks"] = _usual_masks(settings)
    return found


def _usual_masks(settings: Mapping[str, Any]) -> int | None:
    try:
        usual = ScoreConfig(shards=["shards"], mae="mae", out="work", mask_ratio=settings["masks.ratio"])
        return usual.masks_for(settings["patches"])
    except (KeyError, ValueError):
        return None


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return printable(", ".join(map(str, value)) or "none")
    return printable(value, 80)

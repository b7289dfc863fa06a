"""The pipeline from Python: each stage a function, with the settings of its command as keywords.

    import ltrp

    ltrp.shard(images="photos", out="work/shards")
    ltrp.score(shards="work/shards", mae="ltrp-mae-112", out="work/scores")
    ltrp.load_scores("work/scores").to_pandas()

Nothing is loaded before it is asked for: torch and all else that takes long with the first call.
"""

from __future__ import annotations

import importlib
from typing import Any

__distribution__ = "ltrp-pipeline"

_NAMES = {
    **dict.fromkeys(
        [
            "shard",
            "pretrain_mae",
            "score",
            "train_ranker",
            "evaluate_ranker",
            "rank",
            "coverage",
            "train_task",
            "evaluate_task",
            "export_scores",
            "ShardsFailed",
        ],
        "ltrp.calls",
    ),
    **dict.fromkeys(["Scores", "load_scores"], "ltrp.scores"),
    **dict.fromkeys(["to_mlflow", "to_wandb"], "ltrp.loggers"),
    **dict.fromkeys(["KeptPatches", "PatchRanker"], "ranker"),
}
"""Where each stands."""

__all__ = sorted(_NAMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})

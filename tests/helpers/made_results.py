"""Made-up results of tasks, whose every number a test decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.comparison.result import TaskResult, Throughput


def result_of(
    selector: str = "ltrp", ratio: float = 0.25, seed: int = 0, value: float = 0.5, **fields: Any
) -> TaskResult:
    """By the highest scores of `selector`, or where that needs none by itself; of 16 patches."""
    return TaskResult(
        **{
            "task": "classify",
            "selector": selector,
            "select": selector if selector in ("random", "full") else "topk",
            "keep_ratio": ratio,
            "patches": 16,
            "kept": round(16 * ratio),
            "seed": seed,
            "images": 9,
            "metrics": {"top-1": value, "top-5": 1.0},
            "by_class": {"cat": value},
            "recipe": {"steps": 10, "encoder": {"width": 16}},
            "judged_on": {"shards": "a"},
            **fields,
        }
    )


def throughput_of(**fields: Any) -> Throughput:
    """Twice as fast as the full model at half of the operations; the selector costs as much as the model."""
    return Throughput(
        **{
            "device": "a CPU",
            "batch_size": 4,
            "flops": 1e9,
            "full_flops": 2e9,
            "inference": 200.0,
            "full_inference": 100.0,
            "training": 60.0,
            "full_training": 40.0,
            "selector_flops": 1e9,
            "selector_seconds": 1 / 200,
            **fields,
        }
    )


def write(folder: Path, *results: TaskResult) -> list[str]:
    """FOLDER/0/result.json, FOLDER/1/result.json, ..."""
    for number, result in enumerate(results):
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / "result.json").write_bytes(result.encode())
    return [str(folder / str(number) / "result.json") for number in range(len(results))]

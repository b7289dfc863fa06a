"""Running `evaluate-ranker` in tests: scores that masks agree on, and one line to a result."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from scored_stores import draws_of
from small_models import SMALL

from pipeline.cli import main
from stages.evaluate_ranker import evaluate_ranker
from stages.ranking.evaluation import Evaluation
from stages.settings.evaluate_ranker import EvaluateRankerConfig

TARS = {"a": [f"a{number}" for number in range(6)], "b": [f"b{number}" for number in range(5)]}


def repeatable(key: str, visible: np.ndarray) -> np.ndarray:
    """Scores of patches that each have a density of their own, and noise."""
    rng = draws_of(key)
    truth = rng.normal(size=SMALL.n_patches)
    return truth[visible.clip(min=0)] + 0.5 * rng.normal(size=visible.shape)


def config_of(scored: Path, ranker: Path, **settings: Any) -> EvaluateRankerConfig:
    paths = {"shards": [str(scored / "tars")], "scores": str(scored / "scores"), "ranker": str(ranker)}
    return EvaluateRankerConfig(**{**paths, "out": "evaluation", **settings})


def evaluated(scored: Path, ranker: Path, **settings: Any) -> Evaluation:
    return evaluate_ranker(config_of(scored, ranker, **settings), lambda *_: None)


@contextmanager
def evaluating_quickly(folder: Path) -> Iterator[None]:
    """`evaluate-ranker` in a folder without a pipeline.yaml; no time is spent on narrow intervals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("stages.ranking.quality.RESAMPLES", 100)
        yield


def call(scored: Path, ranker: Path, *options: Any) -> Result:
    paths = ["--shards", scored / "tars", "--scores", scored / "scores", "--ranker", ranker, "--out", "evaluation"]
    return CliRunner().invoke(main, [str(each) for each in ("evaluate-ranker", *paths, *options)])


def assert_is_a_plot(data: bytes) -> None:
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    assert image.size == (1100, 460)
    assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 20

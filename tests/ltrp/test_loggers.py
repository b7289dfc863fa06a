"""Curves for Weights & Biases and MLflow: stand-ins that take what the libraries take."""

from __future__ import annotations

import re
from typing import Any

import pytest

import ltrp
from stages.ranking.quality import Estimate
from stages.ranking.validation import ValidationReport
from stages.report import Message
from stages.training.loop import TrainingReport

TRAINING = TrainingReport(step=20, steps=40, loss=1.25, metrics={}, learning_rate=0.001, samples_per_second=64.0)
VALIDATION = ValidationReport(
    epoch=1, step=20, steps=40, qualities={"position prior": {"of mean: ndcg@25%": Estimate(0.75, 0.5, 1.0, 9)}}
)


class Wandb:
    """As a run of wandb: steps may not go back."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log(self, data: dict[str, Any], step: int) -> None:
        assert not self.logged or step >= self.logged[-1][0]
        self.logged.append((step, data))


class Mlflow:
    """As the module mlflow: names hold letters, digits and a few other characters."""

    def __init__(self) -> None:
        self.logged: dict[str, tuple[float, int]] = {}

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        for name, value in metrics.items():
            assert re.fullmatch(r"[/\w.\- ]+", name), name
            self.logged[name] = value, step


def test_wandb_gets_the_curves_of_tensorboard() -> None:
    run = Wandb()
    tell = ltrp.to_wandb(run)
    for report in (Message("begins"), TRAINING, VALIDATION):
        tell(report)
    (step, training), (_, validation) = run.logged
    assert step == 20
    assert 1.25 in training.values()
    assert validation == {"position_prior/of_mean:_ndcg@25%": 0.75}


def test_mlflow_gets_them_under_names_that_it_takes() -> None:
    client = Mlflow()
    tell = ltrp.to_mlflow(client)
    for report in (Message("begins"), TRAINING, VALIDATION):
        tell(report)
    assert client.logged["position_prior/of_mean__ndcg_25_"] == (0.75, 20)


def test_neither_needs_to_be_installed() -> None:
    pytest.importorskip("tensorboardX")
    import sys

    assert callable(ltrp.to_wandb(Wandb()))
    assert "wandb" not in sys.modules
    assert "mlflow" not in sys.modules

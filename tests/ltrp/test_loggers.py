"""Curves for Weights & Biases and MLflow: stand-ins that take what the libraries take."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
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


def test_wandb_itself_takes_them(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not among what the tests install")
    with wandb.init(mode="offline", dir=tmp_path) as run:
        tell = ltrp.to_wandb(run)
        for report in (Message("begins"), TRAINING, VALIDATION, dataclasses.replace(TRAINING, step=40)):
            tell(report)  # the last step is only kept with the next
        assert run.summary["position_prior/of_mean:_ndcg@25%"] == 0.75
        assert run.summary["_step"] == 20


def test_mlflow_itself_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not among what the tests install")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # without a database
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as run:
        tell = ltrp.to_mlflow(mlflow)
        for report in (Message("begins"), TRAINING, VALIDATION):
            tell(report)
    (found,) = mlflow.MlflowClient().get_metric_history(run.info.run_id, "position_prior/of_mean__ndcg_25_")
    assert (found.value, found.step) == (0.75, 20)


def test_neither_needs_to_be_installed() -> None:
    pytest.importorskip("tensorboardX")
    code = "import sys, ltrp; ltrp.to_wandb(0); ltrp.to_mlflow(0); sys.exit(bool({'wandb', 'mlflow'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Curves of trainings for Weights & Biases and MLflow, which need not be installed: functions for `callback`.

    ltrp.train_ranker(..., callback=ltrp.to_wandb(wandb.init(project="patches")))
    ltrp.train_ranker(..., callback=ltrp.to_mlflow(mlflow))

Names and values are those that TensorBoard's files have.
"""

from __future__ import annotations

import re
from typing import Any

from stages.report import Report, Tell

NOT_OF_MLFLOW = re.compile(r"[^\w\-./ ]")
"""What its names of metrics may not hold, such as the @ and % of "ndcg@25%"."""


def to_wandb(run: Any) -> Tell:
    """`run`: of `wandb.init(...)`; whoever started it finishes it."""

    def tell(report: Report) -> None:
        if curves := report.curves:
            run.log({name.replace(" ", "_"): value for name, value in curves.values.items()}, step=curves.step)

    return tell


def to_mlflow(client: Any) -> Tell:
    """`client`: the module `mlflow`, within a run of it, or whatever else has its `log_metrics`."""

    def tell(report: Report) -> None:
        if curves := report.curves:
            values = {NOT_OF_MLFLOW.sub("_", name.replace(" ", "_")): value for name, value in curves.values.items()}
            client.log_metrics(values, step=curves.step)

    return tell

"""A task trained by several workers of Ray Train."""

from __future__ import annotations

from pathlib import Path

import pytest
from task_commands import EVALUATION, train, without_exact_speeds, write_data

from stages.comparison.result import read_result
from storage.locations import locate


@pytest.fixture(autouse=True)
def _quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pipeline.yaml here."""
    monkeypatch.chdir(tmp_path)
    without_exact_speeds(monkeypatch)


@pytest.fixture
def ranked(tmp_path: Path) -> Path:
    return write_data(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("ranked")
def test_two_workers_on_ray_train_what_one_does(small_mae: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.torch
    import torch

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for out, workers in (("out", 2), ("alone", 1)):
        result = train(
            small_mae, "--out", out, "--workers", workers, "--cpus-per-worker", 1, "--keep-ratio", 0.25,
            "--epochs", 3, "--no-throughput", *EVALUATION,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    two, one = (safetensors.torch.load_file(f"{out}/topk-0.25-seed0/task.safetensors") for out in ("out", "alone"))
    assert all(torch.allclose(one[name], two[name], atol=1e-3) for name in one)
    assert read_result(locate("out/topk-0.25-seed0")).images == 3

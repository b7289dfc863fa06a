"""How fast models on kept patches are: what is counted and called, and never how long it takes here."""

from __future__ import annotations

import copy
import math
import runpy
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from repository import ROOT
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.compute.flops import count_flops
from stages.settings.choices import Precision
from stages.tasks import throughput
from stages.tasks.classify import Classifier
from stages.tasks.kept_patches import KeptPatchEncoder
from stages.tasks.task import TaskModel
from stages.tasks.throughput import image_cost, measure, time_in_turns

CPU = torch.device("cpu")
WIDTH, DEPTH, PATCHES, CLASSES = 16, 2, 16, 5


class Clock:
    """A time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    return clock


def classifier() -> Classifier:
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=WIDTH, depth=DEPTH, num_heads=2, num_classes=0, drop_path_rate=0.5
    )
    return Classifier(KeptPatchEncoder(vit), CLASSES, nn.functional.cross_entropy)


def batch_of(count: int = 3, kept: int = 4) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    draws = torch.Generator().manual_seed(0)
    indices = torch.rand(count, PATCHES, generator=draws).argsort(dim=1)[:, :kept].sort(dim=1).values
    classes = nn.functional.one_hot(torch.arange(count) % CLASSES, CLASSES).float()
    return torch.randn(count, 3, 32, 32, generator=draws), indices, {"classes": classes}


def flops_of(kept: int) -> float:
    """By hand: all patches are embedded, those that are kept and CLS go through the blocks (stages.density.cost)."""
    tokens = 1 + kept
    block = (6 + 2 + 16) * tokens * WIDTH**2 + 4 * tokens**2 * WIDTH
    return 2 * PATCHES * (3 * 8**2) * WIDTH + DEPTH * block + 2 * WIDTH * CLASSES


@pytest.mark.parametrize("kept", [1, 4, 15])
def test_flops_are_those_of_the_kept_patches_and_of_all(kept: int) -> None:
    found = measure(classifier(), *batch_of(kept=kept), "cpu", "fp32", seconds=0.01)
    assert (found.flops, found.full_flops) == (flops_of(kept), flops_of(PATCHES))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_speeds_are_numbers_and_operations_the_same_in_any_precision(precision: Precision) -> None:
    found = measure(classifier(), *batch_of(), "cpu", precision, seconds=0.01)
    for speed in (found.inference, found.full_inference, found.training, found.full_training):
        assert math.isfinite(speed)
        assert speed > 0
    assert found.flops == flops_of(4)


class Slow(TaskModel):
    """Takes a second for each patch and image, and ten to learn from it, by the clock of the test."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.encoder = classifier().encoder
        self.weight = nn.Parameter(torch.ones(1))
        self.calls: list[tuple[bool, int]] = []
        self.spend: Callable[[float], None] = lambda seconds: setattr(clock, "now", clock.now + seconds)

    def __deepcopy__(self, memo: object) -> Slow:
        return self  # to see what is called

    def forward(self, images: Tensor, kept: Tensor, targets: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        self.calls.append((self.training, kept.shape[1]))
        self.spend(kept.numel() * (10 if self.training else 1))
        return {"loss": (self.weight * 2).sum()}


def test_speed_is_images_by_median_seconds_in_training_and_inference(clock: Clock) -> None:
    images, kept, targets = batch_of(3, 4)
    found = measure(Slow(clock), images, kept, targets, "cpu", "fp32", seconds=10000)
    assert (found.inference, found.full_inference) == (1 / 4, 1 / 16)
    assert (found.training, found.full_training) == (1 / 40, 1 / 160)


def test_kept_patches_and_all_of_them_take_turns(clock: Clock) -> None:
    model = Slow(clock)
    measure(model, *batch_of(3, 4), "cpu", "fp32", seconds=0)
    for training in (False, True):
        called = [kept for mode, kept in model.calls if mode == training]
        if not training:
            assert called[:2] == [4, 16], "operations are counted once each"
            called = called[2:]
        assert called == [4, 16, 4, 16, 4, 16, 16, 4, 4, 16], "twice to warm up, then forth and back"


def test_where_all_patches_are_kept_the_model_is_the_full_one(clock: Clock) -> None:
    model = Slow(clock)
    found = measure(model, *batch_of(3, PATCHES), "cpu", "fp32", seconds=0)
    assert (found.flops, found.inference, found.training) == (
        found.full_flops,
        found.full_inference,
        found.full_training,
    )
    assert len(model.calls) == 1 + 2 * (2 + throughput.LEAST_ROUNDS)


def test_it_goes_on_for_the_seconds_that_are_given_and_for_three_rounds_at_least(clock: Clock) -> None:
    calls = []

    def work() -> None:
        calls.append(clock.now)
        clock.now += 1.0

    assert time_in_turns([work], CPU, seconds=10.0) == [1.0]
    assert len(calls) == 10
    calls.clear()
    assert time_in_turns([work], CPU, seconds=0.0) == [1.0]
    assert len(calls) == 2 + throughput.LEAST_ROUNDS


def test_quick_work_is_repeated_and_outliers_do_not_count(clock: Clock) -> None:
    taken = iter([5.0, 0.01, 0.01, 0.01, 0.02, 0.02, 9.0, 9.0])

    def work() -> None:
        clock.now += next(taken)

    assert time_in_turns([work], CPU, seconds=0.0) == [pytest.approx(0.02)]
    assert not list(taken)


def test_the_model_and_torchs_random_numbers_stay_as_they_are() -> None:
    model = classifier().eval()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    state = torch.get_rng_state()
    measure(model, *batch_of(), "cpu", "fp32", seconds=0.01)
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
    assert all(weights.grad is None for weights in model.parameters())


def test_training_updates_every_weight_that_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    stepped: list[set[int]] = []
    models: list[Classifier] = []

    class Watched(torch.optim.AdamW):
        def step(self, closure: Any = None) -> Any:
            with_gradient = {
                id(each) for group in self.param_groups for each in group["params"] if each.grad is not None
            }
            stepped.append(with_gradient)
            return super().step(closure)

    def copied(model: Classifier) -> Classifier:
        models.append(model)
        return model

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    monkeypatch.setattr(copy, "deepcopy", copied)
    measure(classifier(), *batch_of(), "cpu", "fp32", seconds=0.0)
    (model,) = models
    learning = {id(weights) for weights in model.parameters() if weights.requires_grad}
    assert stepped
    assert learning
    assert all(each == learning for each in stepped)


def test_the_cost_of_a_model_alone_is_for_one_image(clock: Clock) -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 5)

        def forward(self, images: Tensor) -> Tensor:
            assert not torch.is_grad_enabled()
            clock.now += 2.0 * len(images)
            return self.linear(images)

    assert image_cost(Layer(), torch.zeros(4, 3), device=CPU, precision="fp32", seconds=0.0) == (2 * 3 * 5, 2.0)


def test_attention_is_counted_where_torch_has_it_in_one_piece() -> None:
    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x)

    assert count_flops(Attention(), torch.zeros(1, 1, 7, 4)) == 2 * (2 * 7 * 7 * 4)


def test_the_benchmark_prints_each_ratio_with_and_without_a_ranker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It refuses to run when what reads data was loaded, which other tests did; `test_imports` has it on its own."""
    for name in ("ray", "zarr", "webdataset", "click"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    program = str(ROOT / "benchmarks/kept_patch_throughput.py")
    options = "--image-size 32 --patch-size 8 --batch 1 --seconds 0 --threads 1 --device cpu --keep-ratio 0.25,1"
    monkeypatch.setattr(sys, "argv", [program, *options.split()])
    monkeypatch.setattr(sys, "path", [*sys.path])
    runpy.run_path(program, run_name="__main__")
    printed = capsys.readouterr().out
    facts, _, heading, *rows = printed.splitlines()
    assert "model: tiny/8 at 32 pixels, ranker: nano, batch: 1, precision: fp32, device: cpu" in facts
    assert "inference with ranker  x full  training  x full" in heading
    quarter, full = (row.split() for row in rows)
    assert quarter[:2] == ["0.25", "4"]
    assert full[:2] == ["1", "16"]
    assert full[3] == full[7] == full[11] == "1.00"
    assert float(quarter[3]) < 1 < float(full[5])
    assert float(full[9]) > 0, "measured in turns, so that no order is sure"

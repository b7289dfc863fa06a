"""The training loop: resumes to the bit, stops tidily, refuses to go on with nonsense."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from itertools import count, islice, pairwise
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from stages.training.loop import Training, TrainingReport, interruptions_held
from stages.training.recipe import Recipe

Batch = tuple[Tensor, Tensor]


def batches(start: int = 0) -> Iterator[Batch]:
    for number in count(start):
        generator = torch.Generator().manual_seed(number)
        x = torch.randn(8, 4, generator=generator)
        yield x, x.sum(dim=1, keepdim=True)


class Job:
    """A small network with dropout, so that random numbers matter, with what its training reports and saves."""

    def __init__(self, recipe: Recipe, objective=None) -> None:
        torch.manual_seed(0)
        self.model: Any = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Dropout(0.2), nn.Linear(16, 1))
        self.training = Training(self.model, objective or self.errors, recipe)
        self.reports: list[TrainingReport] = []
        self.states: dict[int, bytes] = {}

    def errors(self, batch: Batch) -> dict[str, Tensor]:
        difference = self.model(batch[0]) - batch[1]
        return {"loss": difference.square().mean(), "error": difference.abs().mean()}

    def run(self, stream: Iterator[Batch] | None = None) -> Job:
        accumulate = self.training.recipe.accumulate
        self.training.run(
            stream or batches(self.training.step * accumulate),
            report=self.reports.append,
            report_every=4,
            save=self.states.__setitem__,
            save_every=10,
        )
        return self

    def curve(self) -> list[tuple[int, float, float, float]]:
        return [(each.step, each.loss, each.metrics["error"], each.learning_rate) for each in self.reports]


@pytest.mark.parametrize(("precision", "fused"), [("fp32", True), ("bf16", False)])
def test_on_a_cpu_attention_in_bf16_is_computed_by_matrix_products(precision: Any, fused: bool) -> None:
    torch.manual_seed(0)
    model = Block(16, 2)
    x = torch.randn(2, 5, 16)
    before = model(x)
    Training(model, lambda batch: {}, recipe(precision=precision))
    assert model.attn.fused_attn is fused
    torch.testing.assert_close(model(x), before)


def recipe(**changes) -> Recipe:
    return Recipe(**{"steps": 25, "batch_size": 8, "base_learning_rate": 0.3, "warmup_steps": 5, **changes})


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def interrupted_after(steps: int, stream: Iterator[Batch]) -> Iterator[Batch]:
    yield from islice(stream, steps)
    raise KeyboardInterrupt


CHANGES: list[dict[str, Any]] = [
    {},
    {"accumulate": 2, "clip_norm": 0.5},
    {"precision": "bf16"},
    {"ema_decay": 0.9},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("at", [1, 8, 13])
def test_an_interrupted_training_goes_on_to_the_same_bits(changes: dict, at: int) -> None:
    whole = Job(recipe(**changes)).run()
    first = Job(recipe(**changes))
    with pytest.raises(KeyboardInterrupt):
        first.run(interrupted_after(at * recipe(**changes).accumulate, batches()))
    second = Job(recipe(**changes))
    second.training.restore(first.states[at])
    torch.rand(3)  # whatever else a new process does with its random numbers before
    second.training.restore(first.states[at])
    second.run()
    assert first.curve() + second.curve() == whole.curve()
    assert equal(second.model, whole.model)
    for job in (whole, second):
        job.training.take_average()
    assert equal(second.model, whole.model)


def test_the_average_of_weights_is_the_moving_one_with_a_decay_that_begins_small() -> None:
    """Step n has the decay 1 - n^(-2/3), at most the one that is given, and the first none."""
    job = Job(recipe(ema_decay=0.8))
    average: dict[str, Tensor] = {}
    decays = []

    def follow(step: int) -> None:
        decays.append(min(0.8, 1 - step ** (-2 / 3)))
        for name, weights in job.model.state_dict().items():
            before = average.get(name, torch.zeros_like(weights))
            average[name] = decays[-1] * before + (1 - decays[-1]) * weights

    nothing: dict[str, Any] = {"report": lambda _: None, "report_every": 99, "save": lambda *_: None, "save_every": 99}
    job.training.run(batches(), **nothing, after_step=follow)
    assert decays[0] == 0
    assert decays[-1] == 0.8
    last = {name: weights.clone() for name, weights in job.model.state_dict().items()}
    job.training.take_average()
    for name, weights in job.model.state_dict().items():
        torch.testing.assert_close(weights, average[name])
        assert not torch.allclose(weights, last[name])


def test_the_average_changes_nothing_in_the_training_itself() -> None:
    plain, averaged = Job(recipe()).run(), Job(recipe(ema_decay=0.9)).run()
    assert averaged.curve() == plain.curve()
    assert equal(averaged.model, plain.model)
    plain.training.take_average()
    assert equal(averaged.model, plain.model), "without one it leaves the last weights"


def test_the_loss_falls_and_reports_come_when_due() -> None:
    job = Job(recipe(steps=102)).run()
    assert [report.step for report in job.reports] == [*range(4, 101, 4), 102]
    assert job.reports[-1].loss < job.reports[0].loss / 3
    assert all(report.samples_per_second > 0 for report in job.reports)


def test_the_state_is_saved_when_due_and_at_the_end() -> None:
    assert list(Job(recipe()).run().states) == [10, 20, 25]


def test_a_finished_training_takes_no_further_step() -> None:
    job = Job(recipe()).run()
    again = Job(recipe())
    again.training.restore(job.states[25])
    again.run(interrupted_after(0, batches()))
    assert again.reports == []


def test_micro_batches_add_up_to_the_step_of_the_whole_batch() -> None:
    def objective(job: Job):
        return lambda batch: {"loss": (job.model(batch[0]) - batch[1]).square().mean()}

    x, y = torch.randn(8, 4), torch.randn(8, 1)
    results = []
    for parts in (1, 4):
        job = Job(recipe(steps=1, accumulate=parts))
        job.model[2].p = 0.0
        job.training.objective = objective(job)
        job.run(iter(list(zip(x.chunk(parts), y.chunk(parts), strict=True))))
        results.append(job.model[0].weight.detach())
    torch.testing.assert_close(results[0], results[1])


def test_the_learning_rate_rises_in_a_line_and_falls_in_a_cosine_to_nothing() -> None:
    schedule = Recipe(steps=110, batch_size=512, base_learning_rate=0.1, warmup_steps=10)
    rates = [schedule.learning_rate(step) for step in range(110)]
    assert rates[:10] == pytest.approx([0.02 * step for step in range(1, 11)])
    assert max(rates) == rates[10] == 0.2
    assert rates[60] == pytest.approx(0.1)
    assert all(a > b > 0 for a, b in pairwise(rates[10:]))
    assert schedule.learning_rate(110) == pytest.approx(0)


def test_only_matrices_decay() -> None:
    groups = Job(recipe(weight_decay=0.1)).training.optimizer.param_groups
    assert {group["weight_decay"]: {p.ndim for p in group["params"]} for group in groups} == {
        0.0: {1},
        0.1: {2},
    }


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_training_at_its_step(nonsense: float) -> None:
    job = Job(recipe(accumulate=2))
    calls = count()
    ordinary = job.errors

    def objective(batch: Batch) -> dict[str, Tensor]:
        values = ordinary(batch)
        return {**values, "loss": values["loss"] * nonsense} if next(calls) // 2 == 5 else values

    job.training.objective = objective
    with pytest.raises(ValueError, match=f"the loss became {nonsense} at step 6: .* lower learning rate"):
        job.run()
    assert job.states == {}


def test_weights_that_are_not_finite_are_never_saved() -> None:
    job = Job(recipe())
    job.run()
    with torch.no_grad():
        job.model[3].bias.fill_(torch.inf)
    with pytest.raises(ValueError, match=r"3\.bias became infinite or NaN by step 25"):
        job.training.state()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_in_mid_step_waits_for_the_end_of_the_step(number: signal.Signals) -> None:
    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, stop)
    job = Job(recipe())
    calls = count(1)
    ordinary = job.errors

    def objective(batch: Batch) -> dict[str, Tensor]:
        if next(calls) == 7:
            os.kill(os.getpid(), number)
        return ordinary(batch)

    job.training.objective = objective
    try:
        with pytest.raises(KeyboardInterrupt):
            job.run()
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)
    assert list(job.states) == [7]


def test_a_failure_in_the_block_comes_before_the_interruption_that_it_holds() -> None:
    def fail_while_interrupted() -> None:
        with interruptions_held():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("half done")

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="half done"):
        fail_while_interrupted()
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_state_holds_no_code() -> None:
    state = torch.load(io.BytesIO(Job(recipe()).run().states[10]), weights_only=True)
    assert state["step"] == 10

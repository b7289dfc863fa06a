"""How fast a model is on kept patches, beside the same model on all of them, and how many operations it takes.

Needs neither shards nor stores, so that benchmarks can use it alone.
"""

from __future__ import annotations

import copy
import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from stages.compute.autocast import autocast
from stages.compute.flops import count_flops
from stages.settings.choices import Precision
from stages.tasks.task import Targets, TaskModel

Clock = Callable[[], float]
LEAST_ROUNDS = 3
LEAST_SECONDS = 0.02
"""Of what is timed in one piece: quicker work is repeated, since a GPU is waited for after each piece."""


@dataclasses.dataclass(frozen=True)
class ModelSpeed:
    """The fields of `stages.comparison.result.Throughput` that a model decides."""

    flops: float
    """Of one image; two for each multiplication and addition of a matrix product, as in `stages.density.cost`."""
    full_flops: float
    inference: float
    """Images a second."""
    full_inference: float
    training: float
    """Images a second: forward, backward and an update with AdamW."""
    full_training: float


def measure(
    model: TaskModel,
    images: Tensor,
    kept: Tensor,
    targets: Targets,
    device: str | torch.device,
    precision: Precision,
    *,
    seconds: float = 3.0,
    clock: Clock | None = None,
) -> ModelSpeed:
    """Times `model` on kept patches and on all of them in turns, about `seconds` in all, by `clock` as in
    `time_in_turns`.

    Args: normalised images (B, 3, S, S) and `kept` (B, k) int64, from any device; `targets` of the same images.
    The model itself stays as it is, and so do torch's random numbers: a copy on `device` is measured.
    """
    device = torch.device(device)
    model = copy.deepcopy(model).to(device)
    images, kept = images.to(device), kept.to(device)
    targets = {name: values.to(device) for name, values in targets.items()}
    count = model.encoder.grid**2
    everything = torch.arange(count, device=device).expand(len(images), -1)
    choices = [kept] if kept.shape[1] == count else [kept, everything]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        model.eval()
        flops = [count_flops(model, images[:1], choice[:1]) for choice in choices]
        infer = _inference(model, device, precision)
        taken = time_in_turns([partial(infer, images, choice) for choice in choices], device, seconds / 2, clock)
        train = _training(model.train(), images, targets, device, precision)
        trained = time_in_turns([partial(train, choice) for choice in choices], device, seconds / 2, clock)
    return ModelSpeed(
        flops[0], flops[-1], *(len(images) / each for pair in (taken, trained) for each in (pair[0], pair[-1]))
    )


def image_cost(
    model: nn.Module, images: Tensor, *, device: torch.device, precision: Precision, seconds: float = 1.0
) -> tuple[float, float]:
    """Operations and seconds for each of `images` (B, 3, S, S) that a model on `device` takes where it is used."""
    images = images.to(device)
    infer = _inference(model, device, precision)
    (taken,) = time_in_turns([partial(infer, images)], device, seconds)
    return count_flops(model, images[:1]), taken / len(images)


def time_in_turns(
    works: Sequence[Callable[[], object]], device: torch.device, seconds: float = 1.0, clock: Clock | None = None
) -> list[float]:
    """Median seconds of each work, by the wall clock, or another such as `time.process_time`.

    They take turns for about `seconds`, at least `LEAST_ROUNDS` times after a warm-up, so that what else the machine
    does meets all of them.
    """
    clock = clock or time.perf_counter
    end = clock() + seconds
    for work in works:
        work()  # what is done once: memory, choice of kernels
    repeats = [max(1, int(LEAST_SECONDS / max(_timed(work, device, 1, clock), 1e-6))) for work in works]
    taken: list[list[float]] = [[] for _ in works]
    rounds = 0
    while rounds < LEAST_ROUNDS or clock() < end:
        for place in list(range(len(works)))[:: -1 if rounds % 2 else 1]:
            taken[place].append(_timed(works[place], device, repeats[place], clock))
        rounds += 1
    return [statistics.median(each) for each in taken]


def _timed(work: Callable[[], object], device: torch.device, repeats: int, clock: Clock) -> float:
    _wait_for(device)
    started = clock()
    for _ in range(repeats):
        work()
    _wait_for(device)
    return (clock() - started) / repeats


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _inference(model: nn.Module, device: torch.device, precision: Precision) -> Callable[..., object]:
    def infer(*inputs: Tensor) -> object:
        with torch.inference_mode(), autocast(device, precision):
            return model(*inputs)

    return infer


def _training(
    model: TaskModel, images: Tensor, targets: Targets, device: torch.device, precision: Precision
) -> Callable[[Tensor], None]:
    """A step on the `kept` patches that it is called with, as `stages.training.loop` makes one; but the rate is 0, so
    that hundreds of steps on one batch lead nowhere."""
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=0.0, fused=True)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def train(kept: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, precision):
            loss = model(images, kept, targets)["loss"]
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return train

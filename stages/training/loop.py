"""The training loop of everything that is trained here.

A step takes the next micro-batches of a stream and makes one update with AdamW. The state after any step
(model, optimizer, gradient scaler, random numbers, losses not yet reported) is bytes of tensors, from which a
training goes on exactly as if it had never stopped: on a CPU with the same number of threads, bit for bit.
"""

from __future__ import annotations

import io
import math
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

import torch
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn

from stages.compute.autocast import Precision, autocast

Batch = TypeVar("Batch")

_ADVICE = "expected finite numbers; try a lower learning rate, more warm-up steps or precision fp32"


class EpochRecipe(Protocol):
    """What presets say of a training that is counted in epochs; fields as in `Recipe`."""

    @property
    def epochs(self) -> int: ...
    @property
    def warmup_epochs(self) -> float: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def base_learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def clip_norm(self) -> float | None: ...


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is optimised; the learning rate rises in a line, then falls to 0 in half a cosine."""

    steps: int
    batch_size: int
    """Samples in a step, those of all its micro-batches together."""
    base_learning_rate: float
    """For 256 samples in a step; the peak is proportional to their number (Goyal et al., 2017)."""
    warmup_steps: int = 0
    weight_decay: float = 0.05
    """Of matrices; biases and norms have none."""
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float | None = None
    accumulate: int = 1
    """Micro-batches in a step."""
    precision: Precision = "fp32"

    @classmethod
    def of_epochs(
        cls, recipe: EpochRecipe, n_images: int, *, processes: int, accumulate: int, precision: Precision
    ) -> Recipe:
        """For passes over `n_images`, shared by `processes`. Raises ValueError for numbers that do not fit each
        other."""
        if recipe.batch_size % (processes * accumulate):
            raise ValueError(
                f"batch_size: expected a multiple of {processes} workers times accumulate {accumulate}, "
                f"came {recipe.batch_size}"
            )
        if recipe.warmup_epochs > recipe.epochs:
            raise ValueError(f"warmup_epochs: expected at most all epochs, {recipe.epochs}, got {recipe.warmup_epochs}")
        return cls(
            steps=epoch_end(recipe.epochs, n_images, recipe.batch_size),
            batch_size=recipe.batch_size,
            base_learning_rate=recipe.base_learning_rate,
            warmup_steps=epoch_end(recipe.warmup_epochs, n_images, recipe.batch_size),
            weight_decay=recipe.weight_decay,
            clip_norm=recipe.clip_norm,
            accumulate=accumulate,
            precision=precision,
        )

    def learning_rate(self, step: int) -> float:
        """The rate of update number `step`, counted from 0."""
        peak = self.base_learning_rate * self.batch_size / 256
        if step < self.warmup_steps:
            return peak * (step + 1) / self.warmup_steps
        part_done = (step - self.warmup_steps) / (self.steps - self.warmup_steps)
        return peak * 0.5 * (1 + math.cos(math.pi * part_done))


def epoch_end(epoch: float, n_images: int, batch_size: int) -> int:
    """The number of steps after which `epoch` epochs are complete."""
    return math.ceil(epoch * n_images / batch_size)


@dataclass(frozen=True)
class TrainingReport:
    """Where a training is after `step` of `steps`; loss and metrics are means since the last report."""

    step: int
    steps: int
    loss: float
    metrics: dict[str, float]
    learning_rate: float
    samples_per_second: float


class Training(Generic[Batch]):
    """A model in training on one device.

    `objective` maps a micro-batch to a scalar "loss", which is minimised, and to any other scalars to be
    reported. It computes with `model`, or with a wrapper of it that gathers gradients from other processes.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Callable[[Batch], Mapping[str, Tensor]],
        recipe: Recipe,
        device: str | torch.device = "cpu",
        average: Callable[[Tensor], Tensor] = lambda values: values,
        groups: list[dict[str, Any]] | None = None,
    ) -> None:
        """`average` takes the mean of what is reported over all processes that train together. `groups` are the
        model's parameters as AdamW takes them, an "lr_scale" of each multiplying its learning rate; by default weight
        decay spares biases and norms."""
        self.average = average
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.objective = objective
        self.recipe = recipe
        self.step = 0
        groups = groups or param_groups_weight_decay(model, recipe.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=recipe.betas, fused=True)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self._recent: dict[str, list[Tensor]] = defaultdict(list)

    def run(
        self,
        batches: Iterable[Batch],
        *,
        report: Callable[[TrainingReport], None],
        report_every: int,
        save: Callable[[int, bytes], None],
        save_every: int,
        after_step: Callable[[int], None] = lambda step: None,
    ) -> None:
        """Trains to the last step on `batches`, which begin with the first micro-batch of step `self.step`.

        `save` gets the step and the state every `save_every` steps, after the last one, and when a
        KeyboardInterrupt ends the training early. `after_step` is called with the number of steps done, and may look
        at the model, whatever mode it leaves it in. Raises ValueError when the loss or a weight is no longer finite;
        such a state is never saved.
        """
        recipe, saved = self.recipe, self.step
        since, at = time.monotonic(), self.step
        stream = iter(batches)
        try:
            while self.step < recipe.steps:
                self.model.train()
                micro_batches = list(islice(stream, recipe.accumulate))
                assert len(micro_batches) == recipe.accumulate, "the batches ended before the training"
                with interruptions_held():
                    self._advance(micro_batches)
                    is_last = self.step == recipe.steps
                    if self.step % report_every == 0 or is_last:
                        now = time.monotonic()
                        report(self._report((self.step - at) * recipe.batch_size / (now - since)))
                        since, at = now, self.step
                after_step(self.step)
                if self.step % save_every == 0 or is_last:
                    save(self.step, self.state())
                    saved = self.step
        except KeyboardInterrupt:
            if self.step > saved:
                save(self.step, self.state())
            raise

    def state(self) -> bytes:
        """What `restore` goes on from: tensors and plain values, no other pickles."""
        self._refuse_what_is_not_finite()
        for name, weights in self.model.named_parameters():
            if not weights.isfinite().all():
                raise ValueError(f"{name} became infinite or NaN by step {self.step}: {_ADVICE}")
        state: dict[str, Any] = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "recent": {name: torch.stack(values).cpu() for name, values in self._recent.items()},
        }
        if self.device.type == "cuda":
            state["random.cuda"] = torch.cuda.get_rng_state(self.device)
        file = io.BytesIO()
        torch.save(state, file)
        return file.getvalue()

    def restore(self, data: bytes) -> None:
        """Goes back to a `state` of the same model and recipe."""
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and "random.cuda" in state:
            torch.cuda.set_rng_state(state["random.cuda"], self.device)
        self.step = state["step"]
        recent = {name: list(values.to(self.device).unbind()) for name, values in state["recent"].items()}
        self._recent = defaultdict(list, recent)

    def _advance(self, micro_batches: list[Batch]) -> None:
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate(self.step) * group.get("lr_scale", 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        for batch in micro_batches:
            with autocast(self.device, recipe.precision):
                values = self.objective(batch)
            self.scaler.scale(values["loss"] / len(micro_batches)).backward()
            for name, value in values.items():
                self._recent[name].append(value.detach())
        if recipe.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1

    def _report(self, samples_per_second: float) -> TrainingReport:
        self._refuse_what_is_not_finite()
        averages = self.average(torch.stack([torch.stack(values).double().mean() for values in self._recent.values()]))
        means = dict(zip(self._recent, averages.tolist(), strict=True))
        self._recent.clear()
        return TrainingReport(
            step=self.step,
            steps=self.recipe.steps,
            loss=means.pop("loss"),
            metrics=means,
            learning_rate=self.recipe.learning_rate(self.step - 1),
            samples_per_second=samples_per_second,
        )

    def _refuse_what_is_not_finite(self) -> None:
        """Looked at when a report or a save is due: each look makes the host wait for the device."""
        if not self._recent:
            return
        losses = torch.stack(self._recent["loss"]).cpu()
        if not losses.isfinite().all():
            first = int((~losses.isfinite()).nonzero()[0])
            step = self.step - (len(losses) - first - 1) // self.recipe.accumulate
            raise ValueError(f"the loss became {losses[first].item()} at step {step}: {_ADVICE}")


def fastest_precision(device: torch.device) -> Precision:
    """Of those that train well: fp32 on a CPU; on a GPU bf16, or else, where that would be emulated, fp16."""
    if device.type == "cpu":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


@contextmanager
def interruptions_held() -> Iterator[None]:
    """Puts off Ctrl-C and SIGTERM to the end of the block, so that no update is left half done."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals come to the main thread
        return
    held: list[int] = []
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for each in handlers:
        signal.signal(each, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
    for number in held:
        signal.raise_signal(number)

"""The training loop of everything that is trained here.

A step takes the next micro-batches of a stream and makes one update with AdamW. The state after any step
(model, the average of its weights, optimizer, gradient scaler, random numbers, losses not yet reported) is bytes of
tensors, from which a training goes on exactly as if it had never stopped: on a CPU with the same number of threads, bit
for bit.
"""

from __future__ import annotations

import io
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Generic, TypeVar

import torch
from timm.optim import param_groups_weight_decay
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from stages.compute.attention import prefer_quick_attention
from stages.compute.autocast import autocast
from stages.report import Curves, Position, Report
from stages.training.recipe import Recipe

Batch = TypeVar("Batch")

_ADVICE = "expected finite numbers; try a lower learning rate, more warm-up steps or precision fp32"


@dataclass(frozen=True)
class TrainingReport(Report):
    """Where a training is after `step` of `steps`; loss and metrics are means since the last report."""

    event: ClassVar[str | None] = "step"
    step: int
    steps: int
    loss: float
    metrics: dict[str, float]
    learning_rate: float
    samples_per_second: float

    @property
    def position(self) -> Position:
        return Position(self.step, self.steps, f"loss {self.loss:.4f}")

    @property
    def curves(self) -> Curves:
        values = {"samples_per_second": self.samples_per_second, "loss": self.loss}
        values |= {"learning_rate": self.learning_rate, **self.metrics}
        return Curves(self.step, {f"training/{name}": value for name, value in values.items()})


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
        divisors: Callable[[Sequence[Batch]], Sequence[float | Tensor]] | None = None,
    ) -> None:
        """`average` takes the mean of what is reported over all processes that train together. `groups` are the
        model's parameters as AdamW takes them, an "lr_scale" of each multiplying its learning rate; by default weight
        decay spares biases and norms. `divisors` of the micro-batches of an update: their losses are divided by them
        and added; by default each counts alike."""
        self.average = average
        self.divisors = divisors or (lambda batches: [len(batches)] * len(batches))
        self.device = torch.device(device)
        self.model = model.to(self.device)
        prefer_quick_attention(self.model, self.device, recipe.precision)
        self.objective = objective
        self.recipe = recipe
        self.step = 0
        groups = groups or param_groups_weight_decay(model, recipe.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=recipe.betas, fused=True)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        # With a decay that begins small, so that a short training is not an average of random weights.
        self._averaged = ModelEmaV3(self.model, decay=recipe.ema_decay, use_warmup=True) if recipe.ema_decay else None
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

    def take_average(self) -> None:
        """Lets the model have the moving average of its weights, if the recipe has one: nothing is trained after it."""
        if self._averaged is not None:
            self.model.load_state_dict(self._averaged.module.state_dict())

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
        if self._averaged is not None:
            state["average"] = self._averaged.module.state_dict()
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
        if self._averaged is not None:
            self._averaged.module.load_state_dict(state["average"])
        self.step = state["step"]
        recent = {name: list(values.to(self.device).unbind()) for name, values in state["recent"].items()}
        self._recent = defaultdict(list, recent)

    def _advance(self, micro_batches: list[Batch]) -> None:
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate(self.step) * group.get("lr_scale", 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        for batch, divisor in zip(micro_batches, self.divisors(micro_batches), strict=True):
            with autocast(self.device, recipe.precision):
                values = self.objective(batch)
            self.scaler.scale(values["loss"] / divisor).backward()
            for name, value in values.items():
                self._recent[name].append(value.detach() * (len(micro_batches) / divisor))
        if recipe.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        if self._averaged is not None:
            self._averaged.update(self.model, step=self.step)

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

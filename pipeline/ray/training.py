"""Training one model on several workers with Ray Train, here or on a cluster.

Each worker runs the stage's own function; Ray Train starts them together, connects them, and after a failure starts
them anew, which then go on from the stage's last checkpoint. What the first worker tells comes back through a mailbox,
which also takes the order to stop.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.config import TrainingExecutionConfig
from pipeline.execution.executor import describe
from pipeline.ray.notes import ray_train_notes
from pipeline.ray.session import is_own_instance, ray_session
from stages.compute.devices import resolve_device
from stages.report import Report, Tell
from stages.training.processes import Processes, Value
from storage.location import Location

POLL_SECONDS = 0.2
STOP_SECONDS = 60.0

Train = Callable[[Processes, Tell], None]


class RayProcesses:
    """The workers of a Ray Train run, as a stage sees them.

    Only the first hears that the training is to stop; it tells the others along with the next average, so that all stop
    at the same step and none waits for another.
    """

    def __init__(self, rank: int, count: int, device: torch.device) -> None:
        self.rank = rank
        self.count = count
        self.device = device
        self.is_asked_to_stop = False
        self.is_stopping = False

    def share_gradients(self, model: nn.Module) -> nn.Module:
        if self.count == 1:
            return model
        return DistributedDataParallel(model, device_ids=[self.device] if self.device.type == "cuda" else None)

    def average(self, values: Tensor) -> Tensor:
        total = torch.cat([values, values.new_tensor([self.is_asked_to_stop])]).to(self.device)
        if self.count > 1:
            distributed.all_reduce(total)
        *averages, stops = (total / self.count).tolist()
        self.is_stopping = stops > 0
        return values.new_tensor(averages)

    def mean_size(self, size: int) -> float | Tensor:
        if self.count == 1:
            return size
        total = torch.tensor(float(size), device=self.device)
        distributed.all_reduce(total)
        return total / self.count  # stays where it is: nothing waits for it

    def gather(self, value: Value) -> list[Value]:
        values: list[Any] = [value] * self.count
        if self.count > 1:
            distributed.all_gather_object(values, value)
        return values


@dataclasses.dataclass(frozen=True)
class _Refusal:
    """Why no worker should try again."""

    message: str


class _Mailbox:
    """An actor between the driver and the workers."""

    def __init__(self) -> None:
        self._messages: list[Any] = []
        self._is_stopped = False

    def put(self, message: Any) -> bool:
        """Whether to stop."""
        self._messages.append(message)
        return self._is_stopped

    def take(self) -> list[Any]:
        messages, self._messages = self._messages, []
        return messages

    def stop(self) -> None:
        self._is_stopped = True


def train_on_ray(train: Train, execution: TrainingExecutionConfig, out: Location, tell: Tell) -> None:
    """Calls `train` in each of the workers that `execution` asks for, and `tell` here with all that the first tells.

    `out` is where it writes, which all workers can reach; Ray Train keeps its own notes there while it runs. `train`
    travels to the workers: a function of a module, or a partial of one. A KeyboardInterrupt passes through once
    the first worker has had the time to save. Raises the ValueError of a worker, and ConnectionError or
    ChildProcessError when the workers cannot be started or are lost too often.
    """
    if execution.device == "cuda" and is_own_instance(execution.ray_address):
        resolve_device("cuda")  # before Ray is started
    with ray_session(execution.ray_address):
        train_on_workers(train, execution, out, tell)


def train_on_workers(train: Train, execution: TrainingExecutionConfig, out: Location, tell: Tell) -> None:
    """The same on the Ray that this process is connected to."""
    with ray_train_notes(out) as notes:
        mailbox: Any = ray.remote(_Mailbox).options(num_cpus=0).remote()
        trainer = _trainer(train, execution, mailbox, notes)
        failures: list[BaseException] = []
        thread = threading.Thread(target=_fit, args=(trainer, failures), daemon=True)
        thread.start()
        try:
            _listen(mailbox, thread, tell)
        except (KeyboardInterrupt, ConnectionError):  # Ctrl-C, or another run has taken the folder
            ray.get(mailbox.stop.remote())
            _listen(mailbox, thread, lambda message: None, until=time.monotonic() + STOP_SECONDS)
            raise
        if failures:
            raise ChildProcessError(f"the workers were lost: {describe(failures[0])}")


def _trainer(train: Train, execution: TrainingExecutionConfig, mailbox: Any, notes: dict[str, Any]) -> Any:
    total = ray.cluster_resources()
    device = execution.device
    if device == "auto":
        device = "cuda" if total.get("GPU", 0) >= execution.workers else "cpu"
    cpus = execution.cpus_per_worker or max(1, int(total.get("CPU", 1) // execution.workers))
    if cpus * execution.workers > total.get("CPU", 0):
        raise ValueError(f"workers: {execution.workers} with {cpus} cores each; Ray has {total.get('CPU', 0):g} cores")
    if device == "cuda" and total.get("GPU", 0) < execution.workers:
        raise ValueError(f"workers: {execution.workers} with a GPU each; Ray has {total.get('GPU', 0):g} GPUs")
    return ray.train.torch.TorchTrainer(
        _work,
        train_loop_config={"train": train, "mailbox": mailbox, "threads": cpus},
        torch_config=ray.train.torch.TorchConfig(backend="nccl" if device == "cuda" else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=execution.workers, use_gpu=device == "cuda", resources_per_worker={"CPU": cpus}
        ),
        run_config=ray.train.RunConfig(
            **notes, failure_config=ray.train.FailureConfig(max_failures=execution.max_failures)
        ),
    )


def _fit(trainer: Any, failures: list[BaseException]) -> None:
    try:
        trainer.fit()
    except BaseException as error:
        failures.append(error)


def _listen(mailbox: Any, thread: threading.Thread, tell: Tell, until: float = float("inf")) -> None:
    """Until the training has ended."""
    is_running = True
    while is_running and time.monotonic() < until:
        thread.join(POLL_SECONDS)
        is_running = thread.is_alive()
        for message in ray.get(mailbox.take.remote()):
            if isinstance(message, _Refusal):
                raise ValueError(message.message)
            tell(message)


def _work(config: dict[str, Any]) -> None:
    """What runs in a worker."""
    context = ray.train.get_context()
    torch.set_num_threads(config["threads"])
    os.environ["OMP_NUM_THREADS"] = str(config["threads"])
    processes = RayProcesses(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())

    def tell(message: Report) -> None:
        if processes.rank == 0 and ray.get(config["mailbox"].put.remote(message)):
            processes.is_asked_to_stop = True
        if processes.is_stopping:
            raise KeyboardInterrupt

    try:
        config["train"](processes, tell)
    except KeyboardInterrupt:
        return  # the state is saved
    except ValueError as error:  # the user's, and the same at every attempt
        ray.get(config["mailbox"].put.remote(_Refusal(str(error))))

"""What a shard costs the driver of a run: a scorer that only sleeps, run as `score` is, over as many as wanted.

    python benchmarks/scale.py --shards 100000 --actors 16 --sleep 0.01
    python benchmarks/scale.py --shards 20000 --actors 256 --hosts 8 --sleep 0.5

All is real but for the scores: the engine, Ray, the lock, the event file, the progress lines, and the record that each
worker writes into the store. `--no-records` leaves that out.

An actor is a process of its own, of some hundred MB. With `--hosts` there are as many processes, in which the actors
share out as threads: the driver does for them all that it does for actors, over fewer connections.

The driver's CPU seconds are those of its process, Ray's threads in it included; they do not depend on what else the
machine does, as the seconds that pass do. Figures leave out the first tenth of the shards.
"""

from __future__ import annotations

import argparse
import cProfile
import dataclasses
import itertools
import os
import platform
import pstats
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ray

import pipeline.ray.executor
from pipeline.config import ExecutionConfig
from pipeline.execution.events import Event, ShardDone
from pipeline.execution.executor import Executor
from pipeline.execution.schedule import Schedule
from pipeline.ray.executor import RayExecutor
from pipeline.ray.worker import ShardWorker
from pipeline.shard_run import Outcome, run_shards
from stages.stage import Receipt, ShardStage
from storage.books import Books, LeftOut, ShardRecord
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.scores import CONTENT
from storage.shard_index import ShardEntry

SAMPLES = 1000
"""In each shard."""
ARRAYS = ("box", "flip", "key", "score", "visible")
FILES = ("zarr.json", *(f"{name}/{file}" for name in ARRAYS for file in ("zarr.json", "c/0")))
"""Those of a shard of scores."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """The driver when so many shards were done."""

    shards: int
    seconds: float
    cpu_seconds: float
    resident_bytes: int


class SleepingStage:
    """Takes `seconds` for a shard, and writes its record into the store at `store`, if any."""

    name = "sleep"

    def __init__(self, seconds: float, store: str | None) -> None:
        self.seconds = seconds
        self.store = store

    def setup(self, device: str, threads: int) -> None:
        pass

    def process(self, shard: ShardEntry) -> Iterator[int | Receipt]:
        time.sleep(self.seconds)
        if self.store:
            Books(locate(self.store)).close(record_of(shard.name))
        yield Receipt(shard.name, SAMPLES, SAMPLES - 1, {"truncated": 1})

    def committed(self, shard: ShardEntry) -> Receipt | None:
        return None


class Observed:
    """An executor whose driver is looked at every so many shards."""

    def __init__(self, executor: Executor, every: int) -> None:
        self._executor = executor
        self._every = every
        self.readings: list[Reading] = []

    def __enter__(self) -> Observed:
        self._executor.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.__exit__(*error)

    def device(self) -> str:
        return self._executor.device()

    def run(self, stage: ShardStage, schedule: Schedule) -> Iterator[Event]:
        done = 0
        for event in self._executor.run(stage, schedule):
            yield event
            if isinstance(event, ShardDone):
                done += 1
                if done % self._every == 0:
                    self.readings.append(Reading(done, time.monotonic(), time.process_time(), resident_bytes()))


class Host:
    """Many workers in one process, each in a thread of its own."""

    def __init__(self, workers: int) -> None:
        self._workers = [ShardWorker() for _ in range(workers)]

    def call(self, worker: int, method: str, *arguments: Any) -> Any:
        return getattr(self._workers[worker], method)(*arguments)


class HostedRay:
    """`ray` as the executor knows it, but that an actor is a place in one of `hosts` processes."""

    def __init__(self, hosts: int, actors: int) -> None:
        self._actors = itertools.count()
        each = -(-actors // hosts)
        kind: Any = ray.remote(Host).options(num_cpus=0.01, max_concurrency=2 * each)
        self._hosts = [kind.remote(each) for _ in range(hosts)]

    def __getattr__(self, name: str) -> Any:
        return getattr(ray, name)

    def remote(self, _: type) -> HostedRay:
        return self

    def options(self, **_: Any) -> Any:
        return self._Kind(self)

    def kill(self, _: object) -> None:
        pass  # its process goes with the session

    @dataclasses.dataclass
    class _Kind:
        outer: HostedRay

        def remote(self) -> _HostedActor:
            number, host = divmod(next(self.outer._actors), len(self.outer._hosts))
            return _HostedActor(self.outer._hosts[host], number)


@dataclasses.dataclass
class _HostedActor:
    host: Any
    number: int

    def __getattr__(self, method: str) -> Any:
        return _HostedMethod(self.host, self.number, method)


@dataclasses.dataclass
class _HostedMethod:
    host: Any
    number: int
    method: str

    def remote(self, *arguments: Any) -> Any:
        return self.host.call.remote(self.number, self.method, *arguments)


def record_of(shard: str) -> ShardRecord:
    """As large as that of a real shard of which one sample was left out."""
    left_out = (LeftOut(f"n01440764/{shard}_0000001234", "truncated"),)
    return ShardRecord(shard, SAMPLES, SAMPLES - 1, left_out, 110_000_000, "0" * 32, dict.fromkeys(FILES, "1" * 64))


def entries(count: int) -> list[ShardEntry]:
    return [
        ShardEntry(f"s3://bucket/train/images-{number:07d}.tar", SAMPLES, 110_000_000, "0" * 32)
        for number in range(count)
    ]


def make_store(path: str) -> PatchStore:
    return PatchStore.create_or_open(path, CONTENT, {"patches": 196})


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def machine() -> str:
    """What the figures are of."""
    facts = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.partition(": ")[2] for line in facts.splitlines() if line.startswith("model name")), "CPU")
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return f"{cores} cores of {model}, Python {platform.python_version()}, Ray {ray.__version__}, load {load:.1f}"


def run_sleeping(
    store: PatchStore, shards: list[ShardEntry], sleep: float, start: Callable[[], Executor], *, records: bool = True
) -> tuple[Outcome, list[Reading]]:
    """Runs the shards that the store lacks; ten readings, in equal distances."""
    todo = len(shards) - len(store.books.done())
    observed: list[Observed] = []

    def start_observed() -> Executor:
        observed.append(Observed(start(), max(1, todo // 10)))
        return observed[0]

    stage = SleepingStage(sleep, store.place.url if records else None)
    outcome = run_shards(stage, store, shards, start_observed, ExecutionConfig())
    return outcome, observed[0].readings if observed else []


def table(readings: list[Reading]) -> str:
    """A line for each interval, and what the whole comes to."""
    lines = ["shards done  shards/s  driver CPU, ms a shard  driver's share of a core  resident, MB"]
    for before, after in itertools.pairwise(readings):
        shards, seconds = after.shards - before.shards, after.seconds - before.seconds
        cpu = after.cpu_seconds - before.cpu_seconds
        lines.append(
            f"{after.shards:>11}  {shards / seconds:>8.0f}  {1000 * cpu / shards:>22.2f}  {cpu / seconds:>24.0%}"
            f"  {after.resident_bytes / 1e6:>12.1f}"
        )
    first, last = readings[0], readings[-1]
    shards, seconds = last.shards - first.shards, last.seconds - first.seconds
    cpu = last.cpu_seconds - first.cpu_seconds
    lines.append(
        f"after the first tenth: {1000 * cpu / shards:.2f} ms of driver CPU a shard, "
        f"{shards / seconds:.0f} shards/s, {(last.resident_bytes - first.resident_bytes) / 1e6:+.1f} MB"
    )
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=2000, help="number of shards [2000]")
    parser.add_argument("--actors", type=int, default=4, help="number of actors [4]")
    parser.add_argument("--sleep", type=float, default=0.01, help="seconds that a shard takes [0.01]")
    parser.add_argument("--hosts", type=int, help="processes that the actors share [one each]")
    parser.add_argument("--no-records", action="store_true", help="leave out writing each shard's record")
    parser.add_argument("--store", type=Path, help="folder of the store, which stays [a temporary one]")
    parser.add_argument("--profile", action="store_true", help="show where the driver's time goes, which takes some")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    with ExitStack() as held:
        folder = arguments.store or Path(held.enter_context(tempfile.TemporaryDirectory()))
        store = make_store(str(folder / "store"))
        executor = RayExecutor("local", actors=arguments.actors, cpus=0.01, device="cpu")

        def start() -> Executor:
            held.enter_context(executor)
            if arguments.hosts:
                setattr(pipeline.ray.executor, "ray", HostedRay(arguments.hosts, arguments.actors))  # noqa: B010
            return executor

        shown = ("shards", "actors", "sleep", "hosts")
        print(", ".join([machine(), *(f"{name} {getattr(arguments, name)}" for name in shown)]), flush=True)
        profile = held.enter_context(cProfile.Profile()) if arguments.profile else None
        outcome, readings = run_sleeping(
            store, entries(arguments.shards), arguments.sleep, start, records=not arguments.no_records
        )
        if profile:
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    print("\n".join(outcome.lines()))
    print(table(readings))
    print(f"at the end: {machine()}")


if __name__ == "__main__":
    main()

"""How does a run on a cluster bear being killed? Drivers, actors, nodes and heads are, at random, until enough were.

    python benchmarks/soak.py --images PHOTOGRAPHS --kills 100
    python benchmarks/soak.py --s3 --kills 20
    python benchmarks/soak.py --disk 16 --kills 20

A cluster of a head and a few nodes on this machine (Ray's own `cluster_utils`) scores photographs with the real
command. Every few seconds something dies: the driver (SIGKILL or SIGTERM), an actor (SIGKILL, or SIGTERM as a notice
of preemption), a node, all nodes at once, or the head, after which there is a new cluster. What ended is started again
as a user would: with the same command. After every kill, each shard that has a record is compared with that of a run
that was never interrupted, file by file, and at the end of each round the whole store is; any difference ends the
program. A finished store is followed by a round with a new one. Prints kills survived, shards begun and committed more
than once, and the seconds that it all took more than uninterrupted runs.

With `--s3` the stores lie in a bucket of moto's, whose network is cut now and then for some seconds: it refuses, says
that it is busy, or breaks off before or after it has done what was asked. With `--disk` they lie on a disk of so many
MB in memory (which takes the right to mount one), which now and then is full for some seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

import torch
from ray.cluster_utils import Cluster
from unreliable_s3 import UnreliableS3, always, no_fault, unreliable_s3

from stages.density.mae import MaeConfig, MaskedAutoencoder
from stages.density.mae_checkpoints import save_mae
from storage.books import Books
from storage.location import Location, is_temporary
from storage.locations import locate

COMMAND = [sys.executable, "-c", "from pipeline.cli import main; main()"]
NODE = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 4,
}
MOST_SECONDS_WITHOUT_A_SHARD = 300.0
MOST_SECONDS_WITHOUT_A_HEAD = 90.0
MAE = MaeConfig(
    image_size=64, patch_size=8, width=96, depth=3, heads=3, decoder_width=64, decoder_depth=2, decoder_heads=4
)


class DifferenceError(AssertionError):
    """A store is not what it must be."""


@dataclasses.dataclass
class Account:
    """What happened."""

    kills: Counter[str] = dataclasses.field(default_factory=Counter)
    rounds: int = 0
    shards: int = 0
    begun: int = 0
    committed_again: int = 0
    restarts: int = 0
    compared: int = 0
    seconds: float = 0.0


class Nodes:
    """The cluster, which can be lost and replaced in part or whole."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lost: list[Any] = []
        self._start()

    def _start(self) -> None:
        head = {"num_cpus": 0, "_system_config": QUICK_TO_NOTICE, **NODE}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.replace()

    @property
    def address(self) -> str:
        return self._cluster.address

    def replace(self) -> None:
        """As many nodes as there were at first."""
        while len(self._cluster.worker_nodes) < self._count:
            self._cluster.add_node(num_cpus=1, **NODE)

    def lose(self, count: int, draw: random.Random) -> None:
        for node in draw.sample(sorted(self._cluster.worker_nodes, key=lambda node: node.node_id), count):
            self._cluster.remove_node(node, allow_graceful=False)

    def lose_head(self) -> None:
        """Its nodes and what runs there go on for a while, unaware."""
        self._lost += self._cluster.worker_nodes
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)
        self._start()

    def end(self) -> None:
        self._cluster.shutdown()
        for node in self._lost:
            with contextlib.suppress(AssertionError, ProcessLookupError):
                node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)


class Soak:
    """One store after the other is made while things are killed."""

    def __init__(
        self,
        folder: Path,
        shards: Path,
        mae: Path,
        reference: Path,
        s3: UnreliableS3 | None,
        arguments: argparse.Namespace,
    ) -> None:
        self.folder, self.shards, self.mae, self.s3 = folder, shards, mae, s3
        self.reference = files_of(locate(reference))
        self.names = sorted(Books(locate(reference)).recorded())
        self.arguments = arguments
        self.draw = random.Random(arguments.seed)
        self.account = Account()
        self.nodes = Nodes(arguments.nodes)
        self.address = self.nodes.address
        self.driver: subprocess.Popen[bytes] | None = None
        self.commits: dict[str, int] = {}

    def run(self) -> Account:
        """Until it is enough, or Ctrl-C."""
        started = time.monotonic()
        try:
            while not self.is_enough(started):
                name = f"store-{self.account.rounds}"
                store = locate(f"s3://bucket/{name}" if self.s3 else self.folder / "disk" / name)
                self.log, self.events = self.folder / f"{name}.log", self.folder / f"{name}.events.jsonl"
                self.round(store, started)
        except KeyboardInterrupt:
            print("stopped; the last store is not finished")
        finally:
            self.account.seconds = time.monotonic() - started
            if self.driver and self.driver.poll() is None:
                self.driver.kill()
                self.driver.wait()
            self.nodes.end()
        return self.account

    def is_enough(self, started: float) -> bool:
        minutes = (time.monotonic() - started) / 60
        return self.account.kills.total() >= self.arguments.kills or minutes >= self.arguments.minutes

    def round(self, store: Location, started: float) -> None:
        """One store, from nothing to the end."""
        self.commits = {}
        self.start_driver(store)
        seen, seen_at = -1, time.monotonic()
        while True:
            pause = self.draw.uniform(0.2, 2 * self.arguments.pause)
            assert self.driver
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self.driver.wait(pause)
                self.compare(store)
                if status == 0:
                    break
                self.account.restarts += 1
                print(f"    the driver ended with {status}: {last_line(self.log)}", flush=True)
                self.start_driver(store)
                continue
            if len(self.commits) > seen:
                seen, seen_at = len(self.commits), time.monotonic()
            if time.monotonic() - seen_at > MOST_SECONDS_WITHOUT_A_SHARD:
                raise DifferenceError(
                    f"no shard was done for {MOST_SECONDS_WITHOUT_A_SHARD:.0f} s: {last_line(self.log)}"
                )
            if not self.is_enough(started) and self.is_worth_killing():
                self.kill()
            self.compare(store)
        self.compare_whole(store)
        events = read_events(self.events)
        self.account.rounds += 1
        self.account.shards += len(self.names)
        self.account.begun += sum(event["event"] == "shard_started" for event in events)
        print(f"round {self.account.rounds} done: store identical; {dict(self.account.kills)}", flush=True)

    def start_driver(self, store: Location) -> None:
        score = [*COMMAND, "score", "--shards", self.shards, "--mae", self.mae, "--out", store.url]
        score += ["--precision", "fp32", "--micro-batch", "8", "--masks", self.arguments.masks]
        score += ["--ray-address", self.address, "--cpus-per-actor", "1", "--events", self.events]
        with self.log.open("ab") as log:
            self.driver = subprocess.Popen(list(map(str, score)), stdout=log, stderr=log)

    def is_worth_killing(self) -> bool:
        """Mostly when actors are at work, now and then at any moment."""
        return bool(self.actors()) or self.draw.random() < 0.2

    def kill(self) -> None:
        """One thing, or several at once."""
        kinds: dict[str, tuple[float, Callable[[], bool]]] = {
            "driver killed": (0.15, lambda: self.end_driver(signal.SIGKILL)),
            "driver told to end": (0.1, lambda: self.end_driver(signal.SIGTERM)),
            "actor killed": (0.3, lambda: self.end_actor(signal.SIGKILL)),
            "actor told to end": (0.2, lambda: self.end_actor(signal.SIGTERM)),
            "node": (0.12, lambda: self.lose_nodes(1)),
            "all nodes": (0.07, lambda: self.lose_nodes(self.arguments.nodes)),
            "head": (0.06, self.lose_head),
            "network cut": (0.5 if self.s3 else 0.0, self.cut_network),
            "disk full": (0.5 if self.arguments.disk else 0.0, self.fill_disk),
        }
        names = list(kinds)
        (name,) = self.draw.choices(names, [kinds[each][0] for each in names])
        if kinds[name][1]():
            self.account.kills[name] += 1
            print(f"{self.account.kills.total():4d}  {name}, {len(self.commits)} shards done", flush=True)

    def end_driver(self, number: signal.Signals) -> bool:
        assert self.driver
        if self.driver.poll() is not None:
            return False
        self.driver.send_signal(number)
        self.driver.wait(60)
        return True

    def end_actor(self, number: signal.Signals) -> bool:
        alive = self.actors()
        if not alive:
            return False
        os.kill(self.draw.choice(alive), number)
        return True

    def actors(self) -> list[int]:
        """Processes of those that were ready last and are there."""
        ready = [event for event in read_events(self.events) if event["event"] == "worker_ready"]
        processes = [int(re.findall(r"process (\d+)", event["place"])[0]) for event in ready[-self.arguments.nodes :]]
        return [process for process in processes if "ShardWorker" in command_of(process)]

    def lose_nodes(self, count: int) -> bool:
        self.nodes.lose(count, self.draw)
        time.sleep(self.draw.uniform(0, 3))
        self.nodes.replace()
        return True

    def lose_head(self) -> bool:
        """The driver must find out by itself."""
        self.nodes.lose_head()
        self.address = self.nodes.address
        assert self.driver
        self.driver.wait(MOST_SECONDS_WITHOUT_A_HEAD)
        return True

    def cut_network(self) -> bool:
        """For seconds, in one of the ways in which networks and buckets fail."""
        assert self.s3
        self.s3.fault = always(self.draw.choice(["busy", "internal error", "dropped before", "dropped after", "cut"]))
        time.sleep(self.draw.uniform(1, 20))
        self.s3.fault = no_fault
        return True

    def fill_disk(self) -> bool:
        """For seconds; what other files need then is not there."""
        ballast = self.folder / "disk" / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**12))
        time.sleep(self.draw.uniform(1, 20))
        ballast.unlink()
        return True

    def compare(self, store: Location) -> None:
        """Every shard that has a record with the uninterrupted one."""
        for path, stamp in store.stamps("books/records").items():
            shard = path.removesuffix(".json")
            if is_temporary(path) or self.commits.get(shard) == stamp:
                continue
            self.account.committed_again += shard in self.commits
            self.commits[shard] = stamp
            self.account.compared += 1
            files = {f"books/records/{path}": store.read(f"books/records/{path}")}
            below = f"shards/{shard}/"
            files |= {path: data for path, data in files_of(store, below).items() if path.startswith(below)}
            expected = {path: data for path, data in self.reference.items() if path in files or path.startswith(below)}
            if files != expected:
                raise DifferenceError(f"{store.url}: shard {shard} differs from the uninterrupted one")

    def compare_whole(self, store: Location) -> None:
        files = files_of(store)
        if files != self.reference:
            odd = sorted(path for path in {*files, *self.reference} if files.get(path) != self.reference.get(path))
            raise DifferenceError(f"{store.url}: differs from the uninterrupted one in {', '.join(odd[:5])}")


def files_of(place: Location, below: str = "") -> dict[str, bytes]:
    """Every file by its path; what happened when, and what killed writers left, aside."""
    return {path: place.read(path) for path in place.walk(below) if not path.endswith((".tmp", "events.jsonl"))}


def read_events(path: Path) -> list[dict[str, Any]]:
    """Lines that a killed driver wrote in part are left out."""
    events = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            events.append(json.loads(line))
    return events


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "")


def command_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def command(*words: object) -> None:
    subprocess.run([*COMMAND, *map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="folder of photographs; built-in scenes if not given")
    parser.add_argument("--mae", help="MAE to score with; a small one with random weights if not given")
    parser.add_argument("--kills", type=int, default=100, help="stop after so many (default: 100)")
    parser.add_argument("--minutes", type=float, default=60.0, help="or after so long (default: 60)")
    parser.add_argument("--pause", type=float, default=6.0, help="mean seconds between kills (default: 6)")
    parser.add_argument("--nodes", type=int, default=2, help="of one core each (default: 2)")
    parser.add_argument("--shard-size", type=int, default=25, help="images in a shard (default: 25)")
    parser.add_argument("--masks", type=int, default=22, help="masks of an image (default: 22)")
    parser.add_argument("--s3", action="store_true", help="stores in a bucket, whose network is cut now and then")
    parser.add_argument("--disk", type=int, help="stores on a disk of so many MB, which is full now and then")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed when")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with contextlib.ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        s3 = held.enter_context(unreliable_s3()) if arguments.s3 else None
        if s3:
            held.enter_context(s3.environment())
        (folder / "disk").mkdir()
        if arguments.disk:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={arguments.disk}m", "tmpfs", folder / "disk"], check=True
            )
            held.callback(subprocess.run, ["umount", "--lazy", folder / "disk"], check=True)
        source = ["--images", arguments.images] if arguments.images else ["--scenes", 200]
        command("shard", *source, "--out", folder / "tars", "--shard-size", arguments.shard_size)
        mae = Path(arguments.mae or folder / "mae")
        if not arguments.mae:
            save_mae(MaskedAutoencoder(MAE), str(mae), {})
        score = ["score", "--shards", folder / "tars", "--mae", mae, "--precision", "fp32", "--micro-batch", 8]
        score += ["--masks", arguments.masks, "--cpus-per-actor", 1]
        started = time.monotonic()
        command(*score, "--out", folder / "reference", "--ray-address", "local", "--actors", arguments.nodes)
        alone = time.monotonic() - started
        print(f"uninterrupted: {alone:.0f} s, start and end included", flush=True)
        account = Soak(folder, folder / "tars", mae, folder / "reference", s3, arguments).run()
    lost = account.seconds - account.rounds * alone
    kills = account.kills.total()
    print(f"\nkills survived           {kills}")
    for kind, count in account.kills.most_common():
        print(f"  {kind:<23}{count}")
    print(f"stores made              {account.rounds}, each identical to the uninterrupted one")
    print(f"shards                   {account.shards}; {account.compared} compared as soon as they were committed")
    print(f"begun more than once     {account.begun - account.shards} times")
    print(f"committed more than once {account.committed_again} times")
    print(f"drivers started again    {account.restarts}")
    print(f"seconds                  {account.seconds:.0f}, of which {lost:.0f} lost: {lost / kills:.1f} a kill")
    print(f"on                       {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}")


if __name__ == "__main__":
    main()

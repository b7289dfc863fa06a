"""One store after the other is made by the real command, on a cluster on which things are killed."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from comparison import Comparison, DifferenceError
from faults import Faults
from nodes import Nodes
from unreliable_s3 import UnreliableS3

from storage.location import Location
from storage.locations import locate

COMMAND = [sys.executable, "-c", "from pipeline.cli import main; main()"]
SECONDS_IN_PEACE = 120.0
"""Without a new shard: then nothing is killed until there is one."""
MOST_SECONDS_WITHOUT_A_SHARD = 900.0
MOST_SECONDS_WITHOUT_A_HEAD = 240.0
MOST_SECONDS_TO_END = 180.0


@dataclasses.dataclass
class Account:
    """What happened."""

    kills: Counter[str] = dataclasses.field(default_factory=Counter)
    faults: Counter[str] = dataclasses.field(default_factory=Counter)
    stores: Counter[str] = dataclasses.field(default_factory=Counter)
    """Made, by where they lie."""
    begun: int = 0
    """Shards."""
    restarts: int = 0
    seconds: float = 0.0


class Soak:
    """Stores lie in the bucket of `s3`, on the `disk`, in turns in both, or in `folder` if there is neither."""

    def __init__(
        self,
        folder: Path,
        score: list[str],
        comparison: Comparison,
        nodes: Nodes,
        s3: UnreliableS3 | None,
        disk: Path | None,
        arguments: argparse.Namespace,
    ) -> None:
        self.folder, self.score, self.comparison, self.arguments = folder, score, comparison, arguments
        self.draw = random.Random(arguments.seed)
        self.faults = Faults(s3, disk, self.draw)
        self.places = [*(["s3://bucket"] if s3 else []), *([str(disk)] if disk else [])] or [str(folder)]
        self.disk = str(disk)
        self.account = Account()
        self.nodes, self.address = nodes, nodes.address
        self.driver: subprocess.Popen[bytes] | None = None

    def run(self) -> Account:
        """Until it is enough, or Ctrl-C, or SIGTERM."""
        self.started = time.monotonic()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            while not self.is_enough():
                number = self.account.stores.total()
                self.log, self.events = (self.folder / f"store-{number}.{kind}" for kind in ("log", "events.jsonl"))
                self.round(self.places[number % len(self.places)], f"store-{number}")
        except KeyboardInterrupt:
            print("stopped; the last store is not finished")
        finally:
            self.account.seconds = time.monotonic() - self.started
            if self.driver and self.driver.poll() is None:
                self.driver.kill()
                self.driver.wait()
            self.faults.wait()
        return self.account

    def is_enough(self) -> bool:
        minutes = (time.monotonic() - self.started) / 60
        return self.account.kills.total() >= self.arguments.kills or minutes >= self.arguments.minutes

    def round(self, place: str, name: str) -> None:
        """One store, from nothing to the end."""
        store = locate(f"{place}/{name}")
        self.start_driver(store)
        seen, seen_at = -1, time.monotonic()
        while True:
            assert self.driver
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self.driver.wait(self.draw.uniform(0.2, 2 * self.arguments.pause))
                self.comparison.compare_new(store)
                if status == 0:
                    break
                self.account.restarts += 1
                print(f"    the driver ended with {status}: {last_line(self.log)}", flush=True)
                self.start_driver(store)
            if len(self.comparison.commits) > seen:
                seen, seen_at = len(self.comparison.commits), time.monotonic()
            waited = time.monotonic() - seen_at
            if waited > MOST_SECONDS_WITHOUT_A_SHARD:
                raise DifferenceError(f"no shard was done for {waited:.0f} s: {last_line(self.log)}")
            if not self.is_enough() and waited < SECONDS_IN_PEACE and self.is_worth_killing():
                self.disturb(place)
            self.comparison.compare_new(store)
        self.comparison.compare_whole(store)
        for path in store.walk():  # or a small disk has no room for the next
            store.delete(path)
        self.account.stores[place] += 1
        self.account.begun += sum(event["event"] == "shard_started" for event in read_events(self.events))
        print(f"store {self.account.stores.total()} done, in {place}: identical", flush=True)

    def start_driver(self, store: Location) -> None:
        words = [*COMMAND, *self.score, "--out", store.url, "--ray-address", self.address, "--events", str(self.events)]
        with self.log.open("ab") as log:
            self.driver = subprocess.Popen(words, stdout=log, stderr=log)

    def is_worth_killing(self) -> bool:
        """Mostly when actors are at work, now and then at any moment."""
        return bool(self.actors()) or self.draw.random() < 0.1

    def disturb(self, place: str) -> None:
        """Kills one thing, or several at once, or cuts off what the store lies on."""
        kills: dict[str, tuple[float, Callable[[], bool]]] = {
            "driver killed": (0.15, lambda: self.end_driver(signal.SIGKILL)),
            "driver told to end": (0.1, lambda: self.end_driver(signal.SIGTERM)),
            "actor killed": (0.3, lambda: self.end_actor(signal.SIGKILL)),
            "actor told to end": (0.2, lambda: self.end_actor(signal.SIGTERM)),
            "node": (0.12, lambda: self.lose_nodes(1)),
            "all nodes": (0.07, lambda: self.lose_nodes(self.arguments.nodes)),
            "head": (0.06, self.lose_head),
        }
        faults: dict[str, tuple[float, Callable[[], bool]]] = {
            "network cut": (0.5 * place.startswith("s3://"), self.faults.cut_network),
            "disk full": (0.5 * (place == self.disk), self.faults.fill_disk),
        }
        kinds = kills | faults
        (name,) = self.draw.choices(list(kinds), [weight for weight, _ in kinds.values()])
        during = " during a fault" if self.faults.is_something_wrong() else ""
        if kinds[name][1]():
            (self.account.kills if name in kills else self.account.faults)[name] += 1
            count = f"{self.account.kills.total():4d} + {self.account.faults.total()}"
            print(f"{count:>10}  {name}{during}, {len(self.comparison.commits)} shards done", flush=True)

    def end_driver(self, number: signal.Signals) -> bool:
        assert self.driver
        if self.driver.poll() is not None:
            return False
        self.driver.send_signal(number)
        self.driver.wait(MOST_SECONDS_TO_END)
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


def read_events(path: Path) -> list[dict[str, Any]]:
    """Lines that a killed driver wrote in part are skipped."""
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

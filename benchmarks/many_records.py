"""How long it takes to find out what is done in a store of many finished shards, and what a bucket is asked for.

    python benchmarks/many_records.py --records 100000
    python benchmarks/many_records.py --records 1000000 --summarised
    python benchmarks/many_records.py --records 5000 --s3

Makes a store of records alone, as large as real ones, in a temporary folder or, with `--s3`, in a bucket of moto's on
this machine; or takes that of `--store`, which `benchmarks/scale.py --store` leaves. Then it opens it, asks what is
done, starts a run that finds nothing to do, reads each record, and calls `status` twice in a process of its own: the
first leaves summaries of the records, which the second reads in their place. `--repeat` says how often the last three
are measured.

With `--s3` it counts the requests of each step, and those of a shard: its tar read, its results written. moto answers
them in this process, one core for both; the seconds that it takes for that are told apart.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
from scale import SAMPLES, SleepingStage, entries, machine, make_store, record_of

from pipeline.config import ExecutionConfig
from pipeline.execution.executor import Executor
from pipeline.shard_run import run_shards
from storage.books import Books
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.record_summaries import forget_summaries, summarise
from storage.scores import CONTENT
from storage.shard_files import read_shard, write_shard
from storage.shard_index import ShardEntry

IMAGE_BYTES = 110_000
"""Of a photograph of ImageNet, on average."""
STATUS = """
import os, sys
from pipeline.cli import main
try:
    main()
finally:
    peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(f"  status took {sum(os.times()[:2]):.2f} s of CPU and {int(peak) / 1024:.0f} MiB", file=sys.stderr)
"""
ROOT = Path(__file__).resolve().parents[1]

T = TypeVar("T")


class CountedS3:
    """A WSGI application around moto's: how many requests of each kind there were, and how long they took it."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.seconds = 0.0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        started = time.monotonic()
        answer = list(self._application(environ, start_response))
        kind = environ["REQUEST_METHOD"]
        if kind == "GET" and "list-type" in environ["QUERY_STRING"]:
            kind = "LIST"
        with self._lock:
            self.requests[kind] += 1
            self.seconds += time.monotonic() - started
        return answer


@contextmanager
def counted_s3() -> Iterator[CountedS3]:
    """An S3 on this machine with the bucket "bucket", for this process and those that it starts."""
    import boto3
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    counted = CountedS3(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, counted, threaded=True, request_handler=MotoRequestHandler)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request takes as long as answering it
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
    }
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with patch.dict(os.environ, environment):
            boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="bucket")
            yield counted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclasses.dataclass
class Steps:
    """Measures one step after the other, and prints what each took."""

    s3: CountedS3 | None

    def measure(self, name: str, step: Callable[[], T]) -> T:
        if self.s3:
            self.s3.requests.clear()
            self.s3.seconds = 0.0
        started, cpu = time.monotonic(), time.process_time()
        result = step()
        told = f"{name:<34} {time.monotonic() - started:>7.2f} s, {time.process_time() - cpu:>6.2f} s of CPU"
        if self.s3:
            requests = ", ".join(f"{count} {kind}" for kind, count in sorted(self.s3.requests.items()))
            told += f"; {requests or 'no requests'}; moto {self.s3.seconds:.2f} s, summed over requests"
        print(told, flush=True)
        return result


def fill(store: PatchStore, shards: list[ShardEntry], *, summarised: bool) -> None:
    """Gives each shard its record. On a disk all in one folder, without flushing each: nothing is lost here.

    `summarised`: leaves summaries too, as a run does, without reading what was just written."""
    store.books.open_for(shards)
    if store.place.local_path() is None:
        for shard in shards:
            store.books.close(record_of(shard.name))
    else:
        folder = f"{store.place.url}/books/records"
        os.makedirs(folder, exist_ok=True)
        text = json.dumps(dataclasses.asdict(record_of("NAME")), indent=1, sort_keys=True) + "\n"
        for shard in shards:
            with open(f"{folder}/{shard.name}.json", "w") as file:
                file.write(text.replace("NAME", shard.name))
    if summarised:
        stamps = store.books.stamps(shard.name for shard in shards)
        with patch.object(Books, "stamped_record", lambda _, name: (record_of(name), stamps[name])):
            summarise(store.books, stamps)


def no_executor() -> Executor:
    raise AssertionError("there is something left to do")


def status(url: str) -> None:
    """Calls the command, and prints when it told what is done and when the rest; it says itself what it took."""
    started = time.monotonic()
    command = [sys.executable, "-c", STATUS, "status", url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith(("  done", "samples")):
                print(f"  status, after {time.monotonic() - started:.2f} s: {line.strip()}", flush=True)
    if process.returncode:
        raise SystemExit(f"status ended with {process.returncode}")


def from_summaries(store: PatchStore, shards: list[ShardEntry], steps: Steps) -> None:
    steps.measure("names and stamps listed", lambda: store.books.stamps(shard.name for shard in shards))
    steps.measure("status, from summaries", lambda: status(store.place.url))


def find_out(store_url: str, shards: list[ShardEntry], steps: Steps, repeat: int) -> None:
    store = steps.measure("open the store", lambda: PatchStore.open(store_url, CONTENT))
    done = steps.measure("what is done", store.books.done)
    print(f"  {len(done)} shards")
    with tempfile.TemporaryDirectory() as folder:
        config = ExecutionConfig(events=f"{folder}/events")
        stage = SleepingStage(0, None)
        steps.measure("a run that has nothing to do", lambda: run_shards(stage, store, shards, no_executor, config))
    for _ in range(repeat):
        forget_summaries(store.books)
        steps.measure("each record read", lambda: sum(record.samples for record in store.books.records()))
        steps.measure("status, which summarises", lambda: status(store_url))
        from_summaries(store, shards, steps)


def one_shard(store: PatchStore, image_bytes: int, steps: Steps) -> None:
    """Requests for a shard of 1,000 photographs: its tar read, its arrays, which are small here, written."""
    rng = np.random.default_rng(0)
    photographs = ((f"{number:06d}", {"jpg": rng.bytes(image_bytes)}) for number in range(SAMPLES))
    entry = write_shard(locate("s3://bucket/tars"), "images-0000000.tar", photographs)
    entry = dataclasses.replace(entry, url="s3://bucket/tars/images-0000000.tar")
    samples = steps.measure("a tar of 1,000 photographs read", lambda: sum(1 for _ in read_shard(entry)))
    assert samples == SAMPLES
    arrays = {
        "key": np.array([f"{number:06d}" for number in range(SAMPLES)], dtype=np.dtypes.StringDType()),
        "score": np.zeros((SAMPLES, 1, 1, 2), np.float32),
        "visible": np.zeros((SAMPLES, 1, 1, 2), np.int16),
        "box": np.ones((SAMPLES, 1, 4), np.int32),
        "flip": np.zeros((SAMPLES, 1), bool),
    }
    shard = "images-new"  # over one that is done, its record would be written twice
    steps.measure(
        "a shard written",
        lambda: store.write_shard(
            shard, arrays, samples=SAMPLES, left_out=(), tar_bytes=entry.filesize or 0, tar_md5="0" * 32
        ),
    )
    steps.measure("asked whether one is done", lambda: store.books.is_done(shard))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1000, help="number of finished shards [1000]")
    parser.add_argument("--s3", action="store_true", help="in a bucket of moto's, and count the requests")
    parser.add_argument("--summarised", action="store_true", help="make summaries, and measure nothing but `status`")
    parser.add_argument("--repeat", type=int, default=1, help="how often to measure records and status [1]")
    parser.add_argument("--image-bytes", type=int, default=IMAGE_BYTES, help=f"of a photograph [{IMAGE_BYTES}]")
    parser.add_argument("--store", type=Path, help="what `scale.py --store` left [one that is made for this]")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    print(machine(), flush=True)
    shards = entries(arguments.records)
    with ExitStack() as held:
        steps = Steps(held.enter_context(counted_s3()) if arguments.s3 else None)
        if arguments.store:
            url = str(arguments.store / "store")
        else:
            url = "s3://bucket/store" if arguments.s3 else f"{held.enter_context(tempfile.TemporaryDirectory())}/store"
            store = make_store(url)
            steps.measure(f"{len(shards)} records made", lambda: fill(store, shards, summarised=arguments.summarised))
        if arguments.summarised:
            for _ in range(arguments.repeat):
                from_summaries(PatchStore.open(url, CONTENT), shards, steps)
        else:
            find_out(url, shards, steps, arguments.repeat)
        if arguments.s3:
            one_shard(store, arguments.image_bytes, steps)
    print(f"at the end: {machine()}")


if __name__ == "__main__":
    main()

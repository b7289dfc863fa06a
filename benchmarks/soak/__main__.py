"""How does a run on a cluster bear being killed? Drivers, actors, nodes and heads are, at random, until enough were.

    python benchmarks/soak --images PHOTOGRAPHS --kills 100
    python benchmarks/soak --s3 --disk 16 --kills 200 --minutes 120

A cluster of a head and a few nodes on this machine scores photographs with the real command. Every few seconds
something dies: the driver (SIGKILL or SIGTERM), an actor (SIGKILL, or SIGTERM as a notice of preemption), a node, all
nodes at once, or the head, after which there is a new cluster. What ended is started again as a user would: with the
same command. After every kill, each shard that has a record is compared with that of a run that was never disturbed,
file by file, and each finished store as a whole; any difference ends the program. A finished store is followed by a new
one. Prints kills survived, shards begun and committed more than once, and the seconds that it all took more than
undisturbed runs.

With `--s3` the stores lie in a bucket of moto's, whose network is cut now and then for some seconds: it refuses, says
that it is busy, or breaks off before or after it has done what was asked. With `--disk` they lie on a disk of so many
MB in memory (which takes the right to mount one), which now and then is full for some seconds. With both they lie here
and there in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "helpers"))

import torch
from comparison import Comparison
from nodes import Nodes
from soak import COMMAND, Account, Soak
from unreliable_s3 import unreliable_s3

from stages.density.mae import MaeConfig, MaskedAutoencoder
from stages.density.mae_checkpoints import save_mae
from storage.locations import locate

MAE = MaeConfig(
    image_size=64, patch_size=8, width=96, depth=3, heads=3, decoder_width=64, decoder_depth=2, decoder_heads=4
)


def call(*words: object) -> None:
    subprocess.run([*COMMAND, *map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="folder of photographs [built-in scenes]")
    parser.add_argument("--scenes", type=int, default=200, help="number of built-in scenes [200]")
    parser.add_argument("--mae", help="MAE to score with [a small one with random weights]")
    parser.add_argument("--kills", type=int, default=100, help="stop after so many [100]")
    parser.add_argument("--minutes", type=float, default=60.0, help="or after so long [60]")
    parser.add_argument("--pause", type=float, default=6.0, help="mean seconds between kills [6]")
    parser.add_argument("--nodes", type=int, default=2, help="of one core each [2]")
    parser.add_argument("--shard-size", type=int, default=25, help="images in a shard [25]")
    parser.add_argument("--masks", type=int, default=22, help="masks of an image [22]")
    parser.add_argument("--s3", action="store_true", help="stores in a bucket, whose network is cut now and then")
    parser.add_argument("--disk", type=int, help="stores on a disk of so many MB, which is full now and then")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed when [0]")
    return parser.parse_args()


def lines(account: Account, comparison: Comparison, alone: float) -> Iterator[str]:
    kills, stores = account.kills.total(), account.stores.total()
    yield f"kills survived           {kills}"
    for kind, count in account.kills.most_common():
        yield f"  {kind:<23}{count}"
    for kind, count in account.faults.most_common():
        yield f"{kind:<25}{count}"
    yield f"stores made              {stores}, each identical to the undisturbed one: {dict(account.stores)}"
    yield f"shards                   {stores * comparison.shards}; {comparison.compared} compared once committed"
    yield f"begun more than once     {account.begun - stores * comparison.shards} times"
    yield f"committed more than once {comparison.committed_again} times"
    yield f"drivers started again    {account.restarts}"
    lost = account.seconds - stores * alone
    yield f"seconds                  {account.seconds:.0f}, of which {lost:.0f} lost: {lost / max(1, kills):.1f} a kill"
    yield f"on                       {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"


def main() -> None:
    arguments = parse()
    os.environ.setdefault("RAY_worker_niceness", "0")  # at Ray's 15 actors get no time beside other work
    torch.manual_seed(0)
    with contextlib.ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        s3 = held.enter_context(unreliable_s3()) if arguments.s3 else None
        if s3:
            held.enter_context(s3.environment())
        disk = held.enter_context(small_disk(folder / "disk", arguments.disk)) if arguments.disk else None
        source = ["--images", arguments.images] if arguments.images else ["--scenes", arguments.scenes]
        call("shard", *source, "--out", folder / "tars", "--shard-size", arguments.shard_size)
        mae = Path(arguments.mae or folder / "mae")
        if not arguments.mae:
            save_mae(MaskedAutoencoder(MAE), str(mae), {})
        score = ["score", "--shards", str(folder / "tars"), "--mae", str(mae), "--precision", "fp32"]
        score += ["--micro-batch", "8", "--masks", str(arguments.masks), "--cpus-per-actor", "1"]
        nodes = Nodes(arguments.nodes)
        held.callback(nodes.end)
        started = time.monotonic()
        call(*score, "--out", folder / "undisturbed", "--ray-address", nodes.address)
        alone = time.monotonic() - started
        print(f"undisturbed: {alone:.0f} s, start and end included", flush=True)
        comparison = Comparison(locate(folder / "undisturbed"))
        account = Soak(folder, score, comparison, nodes, s3, disk, arguments).run()
    print("", *lines(account, comparison, alone), sep="\n")


if __name__ == "__main__":
    main()

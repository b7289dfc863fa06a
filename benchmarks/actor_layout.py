"""Few actors of several threads, or many of one? Images scored a second, alone and beside other work.

    python benchmarks/actor_layout.py --mae ltrp-mae-112 --decode cells --seconds 20 --rounds 3

A layout is a number of processes and the threads of each, all cores together. Layouts take turns, first alone and then
beside a process that multiplies matrices without a pause. Prints a Markdown table: images a second of all processes
together, the median of the rounds with the least and the most, and the memory of the processes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import time
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stages.density.decoded import draw_decoded
from stages.density.mae_checkpoints import load_mae
from stages.density.masks import draw_masks, masks_per_round
from stages.density.precision import fastest_trusted
from stages.density.scorer import DensityScorer

RATIO = 0.9
CPU = torch.device("cpu")


def main() -> None:
    arguments = parsed()
    cores = len(os.sched_getaffinity(0))
    layouts = [(cores // threads, threads) for threads in range(1, cores + 1) if cores % threads == 0]
    found: dict[tuple[int, int, bool], list[tuple[float, float]]] = {}
    for _ in range(arguments.rounds):
        for busy in (False, True):
            for processes, threads in layouts:
                measured = measure(arguments, processes, threads, busy)
                found.setdefault((processes, threads, busy), []).append(measured)
    precision = fastest_trusted(CPU)
    print(f"{cores} cores, {arguments.mae}, decoded {arguments.decode}, {precision}, torch {torch.__version__}")
    print("\n| processes x threads | beside it | images/s | memory, GB |\n| --- | --- | --- | --- |")
    for (processes, threads, busy), rounds in sorted(found.items(), key=lambda each: (each[0][2], each[0][1])):
        rates, memory = zip(*rounds, strict=True)
        told = f"{statistics.median(rates):.2f} ({min(rates):.2f} to {max(rates):.2f})"
        beside = "a process" if busy else "nothing"
        print(f"| {processes} x {threads} | {beside} | {told} | {max(memory):.1f} |")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mae", default="ltrp-mae-112")
    parser.add_argument("--decode", choices=["full", "cells"], default="full")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def measure(arguments: argparse.Namespace, processes: int, threads: int, busy: bool) -> tuple[float, float]:
    """Images a second and GB, of all processes together."""
    context = multiprocessing.get_context("spawn")
    ready, results, stop = context.Barrier(processes), context.Queue(), context.Event()
    workers: list[Any] = [
        context.Process(target=score, args=(arguments, threads, ready, results)) for _ in range(processes)
    ]
    beside: list[Any] = [context.Process(target=multiply, args=(stop,))] if busy else []
    for each in beside + workers:
        each.start()
    found = [results.get() for _ in workers]
    stop.set()
    for each in beside + workers:
        each.join()
    return sum(rate for rate, _ in found), sum(memory for _, memory in found)


def score(arguments: argparse.Namespace, threads: int, ready: Barrier, results: Any) -> None:
    torch.set_num_threads(threads)
    checkpoint = load_mae(arguments.mae)
    n_patches, side = checkpoint.config.n_patches, checkpoint.config.image_size
    scorer = DensityScorer(checkpoint.build(), precision=fastest_trusted(CPU))
    masks = draw_masks(
        0, "", 0, masking="random", n_masks=masks_per_round(n_patches, RATIO), n_patches=n_patches, mask_ratio=RATIO
    )
    images = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    visible = torch.from_numpy(masks).long()[None]
    decoded: list[torch.Tensor | None] = [None] * len(masks)
    if arguments.decode == "cells":
        decoded = [torch.from_numpy(each)[None] for each in draw_decoded(0, "", 0, masks, n_patches)]

    def image() -> None:
        for number in range(len(masks)):
            scorer(images, visible[:, number], decoded[number])

    image()
    ready.wait()
    started, count = time.monotonic(), 0
    while time.monotonic() - started < arguments.seconds:
        image()
        count += 1
    rate = count / (time.monotonic() - started)
    results.put((rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6))


def multiply(stop: Event) -> None:
    torch.set_num_threads(1)
    matrix = torch.randn(512, 512)
    while not stop.is_set():
        for _ in range(100):
            torch.mm(matrix, matrix)


if __name__ == "__main__":
    main()

"""The head of a cluster is lost: the driver says so and ends; on another cluster the same command goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from clusters import SMALL, small_cluster, until
from ray.cluster_utils import Cluster
from scoring import files_of, score_config, score_in_process

PROGRAM = """
from pipeline.ray import cluster as ray_cluster
from pipeline.cli import main

ray_cluster.HEAD_SECONDS = 1.0
main()
"""
SLOW = {"masks": 1000, "micro_batch": 4}
"""A tar of four scenes takes seconds: the head is gone, and that is found out, before the worker is done with three."""


def start(cluster: Cluster, shards: Path, mae: Path, out: Path) -> subprocess.Popen[str]:
    words = ["score", "--shards", shards, "--mae", mae, "--out", out, "--mask-ratio", 0.75, "--precision", "fp32"]
    words += ["--masks", SLOW["masks"], "--micro-batch", SLOW["micro_batch"]]
    words += ["--ray-address", cluster.address, "--cpus-per-actor", 1]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def with_a_node(cluster: Cluster) -> Cluster:
    cluster.add_node(num_cpus=1, **SMALL)
    return cluster


def end(processes: list[Any]) -> None:
    for process in processes:
        process.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)


@pytest.mark.slow
def test_a_driver_without_its_head_ends_and_the_same_command_on_another_cluster_makes_the_same_store(
    scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    score_in_process(score_config(scene_shards, small_mae, tmp_path / "undisturbed", **SLOW))
    out = tmp_path / "scores"
    with small_cluster() as cluster:
        driver = start(with_a_node(cluster), scene_shards, small_mae, out)
        until(lambda: driver.poll() is not None or list((out / "books" / "records").glob("*.json")), seconds=120)
        orphans = list(cluster.worker_nodes)
        assert cluster.head_node
        cluster.remove_node(cluster.head_node, allow_graceful=False)
        lost = time.monotonic()
        printed, _ = driver.communicate(timeout=120)
        assert driver.returncode == 1, printed
        assert time.monotonic() - lost < 60
        assert "the cluster's head has not answered for" in printed
        assert "run the same command to resume" in printed
        assert "Traceback" not in printed
        assert not list((out / "books" / "drivers").glob("*"))  # its lock is given back
        end(orphans)
        cluster.worker_nodes.clear()
    with small_cluster() as other:
        driver = start(with_a_node(other), scene_shards, small_mae, out)
        printed, _ = driver.communicate(timeout=240)
        assert driver.returncode == 0, printed
    assert "4 of 4 shards are done" in printed
    assert "(4 in this run)" not in printed
    assert files_of(out) == files_of(tmp_path / "undisturbed")

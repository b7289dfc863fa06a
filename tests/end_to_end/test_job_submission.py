"""`ray job submit`: the whole command as a job of a cluster, submitted as a user would."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scoring import files_of, score_config, score_in_process

from pipeline.ray.session import OBJECT_STORE_BYTES

pytest.importorskip("aiohttp_cors", reason="the dashboard, which takes jobs, comes with ray[default]")

BIN = Path(sys.executable).parent
STARTED_WITHIN = 120.0
STARTED = "Ray runtime started"
"""What `ray start` says; its dashboard answers before, even if Ray then gives the node up."""


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the cluster wants of everyone: of the test's own, so that nobody else gets in."""
    if not (BIN / "ltrp-pipeline").exists():
        pytest.skip("the package is not installed beside this Python")
    file = tmp_path / "token"
    file.write_text(secrets.token_hex(32))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")  # jobs have that of their node
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    return file.read_text()


@pytest.fixture
def job_server(token: str) -> Iterator[str]:
    """The address that jobs are submitted to, of a cluster of one node that ends with the test."""
    port, dashboard, client, agent = free_ports(4)
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as short, open(f"{short}/output", "wb") as output:
        start = ["ray", "start", "--head", "--block", "--disable-usage-stats", "--node-ip-address", "127.0.0.1"]
        node = ["--num-cpus", "2", "--object-store-memory", OBJECT_STORE_BYTES, "--temp-dir", short]
        ports = ["--port", port, "--dashboard-port", dashboard, "--ray-client-server-port", client]
        arguments = list(map(str, [*start, *node, *ports, "--dashboard-agent-listen-port", agent]))
        head = subprocess.Popen(arguments, stdout=output, stderr=output)
        try:
            server = f"http://127.0.0.1:{dashboard}"
            deadline = time.monotonic() + STARTED_WITHIN
            while STARTED not in (printed := Path(output.name).read_text()) or not answers(server, token):
                if head.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"the cluster did not start: {printed}")
                time.sleep(0.2)
            yield server
        finally:
            head.terminate()  # and all that it started
            head.wait(timeout=60)
        assert not commands_that_mention(short)


def free_ports(count: int) -> list[int]:
    """Several at once, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def answers(server: str, token: str) -> bool:
    try:
        return isinstance(fetch(f"{server}/api/jobs/", token), list)
    except (urllib.error.URLError, ConnectionError):
        return False


def fetch(url: str, token: str) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def commands_that_mention(text: str) -> list[str]:
    """What runs with `text` among its arguments; what just ended gets a moment to be gone."""
    for _ in range(50):
        found = []
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # gone
            if text in command:
                found.append(command)
        if not found:
            break
        time.sleep(0.1)
    return found


@pytest.mark.slow
def test_a_submitted_job_scores_on_the_cluster_as_one_process_does(
    job_server: str, token: str, scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    score = ["ltrp-pipeline", "score", "--shards", scene_shards, "--mae", small_mae, "--out", tmp_path / "job"]
    # No address: a job has that of its cluster in RAY_ADDRESS.
    options = ["--mask-ratio", "0.75", "--precision", "fp32", "--actors", "1", "--cpus-per-actor", "1"]
    job = subprocess.run(
        list(map(str, [BIN / "ray", "job", "submit", "--address", job_server, "--", *score, *options])),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert job.returncode == 0, job.stdout + job.stderr
    assert "4 of 4 shards are done (4 in this run)" in job.stdout
    actors = fetch(f"{job_server}/api/v0/actors?detail=true", token)["data"]["result"]["result"]
    assert [actor["class_name"] for actor in actors].count("ShardWorker") == 1  # those that ended are listed too
    score_in_process(score_config(scene_shards, small_mae, tmp_path / "in-process"))
    assert files_of(tmp_path / "job") == files_of(tmp_path / "in-process")

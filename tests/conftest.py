"""What many tests need: every kind of location, a few built-in scenes in tars, a very small MAE and ranker.

What takes long to import is imported where it is needed: the process that starts those that run tests reads this, too.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before torch is loaded: for tensors as small as these several threads are slower, and many times so beside other work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray's own 15 leaves its workers next to nothing of a core that other work wants, and tests wait for them.
os.environ.setdefault("RAY_worker_niceness", "0")

import pytest

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster
    from unreliable_s3 import UnreliableS3

    from stages.shard import ShardSummary
    from storage.locations import Location

QUICK = {"ranker", "storage", "test_circles.py"}
"""Folders and files that `make check` runs,"""
NOT_QUICK = {"test_alone.py", "test_export.py", "test_hub.py"}
"""but for those that start processes, and for whatever asks an object store."""
OBJECT_STORE = re.compile(r"[\[-](s3|gs)\b|s3|bucket|hub")
"""In the name of a test, or of what it is given."""
FORKS = {"test_one_line.py", "test_resume.py"}
"""Files of `ForkedProgram`, but for those that start Ray."""
NO_RAY = "127.0.0.1:1"
"""Where nobody answers."""


def pytest_configure() -> None:
    from hypothesis import HealthCheck, settings

    # How long examples take says how busy the machine is.
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


def pytest_itemcollected(item: pytest.Item) -> None:
    names = " ".join([item.name, *getattr(item, "fixturenames", ())])
    in_folder = item.path.parent.name in QUICK and item.path.name not in NOT_QUICK
    if (in_folder or item.path.name in QUICK) and not OBJECT_STORE.search(names):
        item.add_marker(pytest.mark.quick)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts Ray takes longest, and goes first."""
    items.sort(key=lambda item: starts_ray(item.path.name), reverse=True)


def starts_ray(file: str) -> bool:
    return file.startswith("test_ray_")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For several processes of pytest: the tests of a file stay together, with what they share. So do those of all
    files that start Ray, of which there is one at a time, and of those that fork programs from one server."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            name = Path(file).name
            return "ray" if starts_ray(name) else "forks" if name in FORKS else file

    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def _no_ray_unasked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever starts Ray, in a process of its own too, fails in a file that is not named for it."""
    if not starts_ray(request.path.name):
        monkeypatch.setenv("RAY_ADDRESS", NO_RAY)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """For all files, since it takes seconds to start: a head on which nothing runs, to which nodes are added."""
    from clusters import small_cluster

    with small_cluster() as running:
        yield running


@pytest.fixture(scope="module")
def ray_address(cluster: Cluster) -> str:
    """Where Ray has two nodes of one core each."""
    from clusters import two_nodes

    two_nodes(cluster)
    return cluster.address


@pytest.fixture(scope="session", autouse=True)
def _unflushed() -> Iterator[None]:
    """Waiting for the disk takes longest where files are small, and no power is lost here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def _drawn_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from stages.settings.shard import ShardConfig
    from stages.shard import run_shard

    folder = tmp_path_factory.mktemp("scenes") / "tars"
    run_shard(ShardConfig(scenes=15, scene_size=40, shard_size=4, out=str(folder), name="scenes"), lambda *_: None)
    return folder


@pytest.fixture
def scene_shards(_drawn_scenes: Path, tmp_path: Path) -> Path:
    """A folder of four tars with an index: 15 scenes, in tars of 4, 4, 4 and 3."""
    return Path(shutil.copytree(_drawn_scenes, tmp_path / "tars"))


@pytest.fixture(scope="module")
def mixed_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good and bad images in class folders."""
    from mixed_images import write_mixed_images

    return write_mixed_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def mixed_shards(mixed_images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ShardSummary]:
    """Their tars, in a folder with an index, and what `shard` said."""
    from mixed_images import MIXED, shard

    out = tmp_path_factory.mktemp("out")
    return out, shard(images=str(mixed_images), out=str(out), workers=1, **MIXED)


@pytest.fixture(scope="session")
def small_mae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an MAE of `SMALL` and random weights."""
    import torch
    from small_models import SMALL

    from stages.density.mae import MaskedAutoencoder
    from stages.density.mae_checkpoints import save_mae

    folder = tmp_path_factory.mktemp("mae")
    torch.manual_seed(0)
    save_mae(MaskedAutoencoder(SMALL), str(folder), {})
    return folder


@pytest.fixture(scope="session")
def small_ranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ranker of `SMALL_RANKER` and random weights."""
    from small_models import write_ranker

    return write_ranker(tmp_path_factory.mktemp("ranker"))


@pytest.fixture(scope="session")
def scores(_drawn_scenes: Path, small_mae: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of all 15 scenes under two rounds of masks, by `small_mae`."""
    from scoring import score_config, score_in_process

    folder = tmp_path_factory.mktemp("scores") / "scores"
    score_in_process(score_config(_drawn_scenes, small_mae, folder))
    return folder


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tars/ and scores/ of eleven pictures of noise: four rounds of masks, which agree in part."""
    from evaluations import TARS, repeatable
    from scored_stores import write_scored

    folder = tmp_path_factory.mktemp("scored")
    write_scored(folder, TARS, repeatable, masks=16)
    return folder


@pytest.fixture(scope="session")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve scenes, beside one that cannot be used, with ranks of two views each."""
    from ranked_tars import write_ranked
    from task_runs import TARS

    folder = tmp_path_factory.mktemp("ranked")
    write_ranked(folder, {**TARS, "c": ["bad", "c1"]}, views=2)
    return folder


@pytest.fixture(scope="session")
def deeper_mae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two blocks, so that one can be dropped."""
    from random_maes import DEEPER, random_mae

    from stages.density.mae_checkpoints import save_mae

    folder = tmp_path_factory.mktemp("deeper")
    save_mae(random_mae(DEEPER), str(folder), {})
    return folder


@pytest.fixture
def report_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.train_task.REPORT_EVERY", 1)


@pytest.fixture
def undrawn_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what does not look at plots, which take longer to draw than what they show takes to be found."""
    monkeypatch.setattr("stages.plots.files.encoded_plot", lambda *_: b"")


@pytest.fixture
def quick_evaluation(tmp_path: Path) -> Iterator[None]:
    """For `evaluate-ranker`."""
    from evaluations import evaluating_quickly

    with evaluating_quickly(tmp_path):
        yield


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stages set: threads that share a core with other tests wait for each other, a hundred times as long."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
        monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[UnreliableS3]:
    from unreliable_s3 import unreliable_s3

    with unreliable_s3() as server, server.environment():
        yield server


@pytest.fixture(scope="session")
def s3_bucket(_s3_server: UnreliableS3) -> str:
    """The URL of a bucket on loopback, which the environment leads to."""
    return "s3://bucket"


@pytest.fixture
def faulty_s3(_s3_server: UnreliableS3) -> Iterator[UnreliableS3]:
    """The server of `s3_bucket`, to be given faults, which end with the test."""
    _s3_server.forget()
    yield _s3_server
    _s3_server.forget()


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Before a bucket that is opened within the test is asked again."""
    from datetime import timedelta

    from storage import bucket

    monkeypatch.setattr(bucket, "FIRST_PAUSE", timedelta(milliseconds=1))
    bucket._open.cache_clear()
    yield
    bucket._open.cache_clear()


@pytest.fixture
def s3_folder(faulty_s3: UnreliableS3, s3_bucket: str) -> Location:
    """A folder in a bucket that has answered."""
    from storage.locations import locate

    folder = locate(f"{s3_bucket}/{uuid.uuid4().hex}")
    folder.exists("a")
    faulty_s3.forget()
    return folder


@pytest.fixture(params=["local", "memory", "s3", "gs"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """An empty folder of each kind: whatever uses locations is to pass its tests on all of them."""
    from storage.locations import locate

    if request.param == "local":
        return locate(tmp_path / "folder")
    if request.param != "memory":
        bucket = request.getfixturevalue("s3_bucket").replace("s3:", f"{request.param}:")
        return locate(f"{bucket}/{uuid.uuid4().hex}")
    pytest.importorskip("obstore")
    return locate(f"memory://{uuid.uuid4().hex}/folder")

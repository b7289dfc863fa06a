"""The stage `shard` again, after it was stopped, killed or finished: the files are those of an undisturbed run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mixed_images import MIXED, contents, shard
from pictures import fill, picture
from repository import ROOT

from stages.settings.shard import ShardConfig
from stages.shard import ShardSummary, run_shard
from storage.locations import is_temporary


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("stop_after", [0, 1, 3, 6])
def test_a_run_that_was_stopped_goes_on_where_it_was(
    mixed_images: Path, mixed_shards: tuple[Path, ShardSummary], tmp_path: Path, stop_after: int
) -> None:
    made = 0

    def stop(event: str, facts: dict[str, Any]) -> None:
        nonlocal made
        made += event == "shard"
        if made == stop_after:
            raise StoppedError

    config = ShardConfig(name="t", images=str(mixed_images), out=str(tmp_path / "out"), **MIXED)
    with pytest.raises(StoppedError):
        run_shard(config, stop)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")}
    assert len(kept) == stop_after
    assert not (tmp_path / "out" / "index.json").exists()
    assert run_shard(config, lambda event, facts: None).written == 6 - stop_after
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(tmp_path / "out") == contents(mixed_shards[0])


KILLED_RUNS = """
import json, os, signal, sys, warnings
sys.modules["torch"] = None  # webdataset does without, and loading it takes seconds
import stages.shard, storage.locations, webdataset
warnings.simplefilter("ignore")

def run_until_killed(out, module, name, call):
    real, calls = getattr(sys.modules[module], name), 0
    def killing(*arguments, **settings):
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **settings)
    setattr(sys.modules[module], name, killing)
    settings = {**json.loads(sys.argv[2]), "images": sys.argv[1], "out": out, "name": "t", "workers": 1}
    stages.shard.run_shard(stages.shard.ShardConfig(**settings), lambda event, facts: None)

for out, *moment in json.loads(sys.argv[3]):
    process = os.fork()  # of a process without threads, which has imported everything: that takes longest
    if process == 0:
        run_until_killed(out, *moment)
        os._exit(0)
    assert os.waitpid(process, 0)[1] == signal.SIGKILL, moment
"""
MOMENTS = {
    "within a tar": ("stages.shard", "sample_fields", 35),  # the fourth tar has the 28th to 36th image
    "a tar is whole but has no name": ("storage.local_files", "_flush", 4),
    "a tar is there but has no receipt": ("storage.local_files", "_flush", 5),
    "all is there but the index": ("storage.local_files", "_flush", 16),
}


@pytest.fixture(scope="module")
def killed_runs(mixed_images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By moment, the output of a run that got SIGKILL then."""
    outs = {moment: tmp_path_factory.mktemp("killed") / "out" for moment in MOMENTS}
    cases = json.dumps([(str(outs[moment]), *where) for moment, where in MOMENTS.items()])
    subprocess.run(
        [sys.executable, "-c", KILLED_RUNS, str(mixed_images), json.dumps(MIXED), cases], cwd=ROOT, check=True
    )
    return outs


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_was_killed_is_as_if_it_had_not_been_once_it_is_run_again(
    mixed_images: Path, mixed_shards: tuple[Path, ShardSummary], killed_runs: dict[str, Path], moment: str
) -> None:
    out = killed_runs[moment]
    assert any(is_temporary(Path(path).name) for path in contents(out))
    assert not (out / "index.json").exists()
    shard(images=str(mixed_images), out=str(out), **MIXED)
    assert contents(out) == contents(mixed_shards[0])


def test_running_a_finished_job_again_touches_nothing(mixed_images: Path, tmp_path: Path) -> None:
    first = shard(images=str(mixed_images), out=str(tmp_path), **MIXED)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = shard(images=str(mixed_images), out=str(tmp_path), workers=2, **MIXED)
    assert (first.written, again.written) == (6, 0)
    assert again.shards == first.shards
    assert again.left_out == first.left_out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("spoil", [lambda tar: tar.unlink(), lambda tar: tar.write_bytes(b"cut")])
def test_a_tar_that_is_gone_or_cut_is_made_again_alone(mixed_images: Path, tmp_path: Path, spoil: Any) -> None:
    shard(images=str(mixed_images), out=str(tmp_path), **MIXED)
    before = contents(tmp_path)
    spoil(tmp_path / "t-000002.tar")
    assert shard(images=str(mixed_images), out=str(tmp_path), **MIXED).written == 1
    assert contents(tmp_path) == before


def test_the_output_may_be_moved(mixed_images: Path, tmp_path: Path) -> None:
    shard(images=str(mixed_images), out=str(tmp_path / "here"), **MIXED)
    os.rename(tmp_path / "here", tmp_path / "there")
    assert shard(images=str(mixed_images), out=str(tmp_path / "there"), **MIXED).written == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shard_size": 8}, "shard_size: 9 then, 8 now"),
        ({"max_side": 20}, "max_side: None then, 20 now"),
        ({"seed": 3, "name": "u"}, "name: 't' then, 'u' now; seed: 0 then, 3 now"),
    ],
)
def test_other_settings_are_refused_saying_which(
    mixed_images: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    shard(images=str(mixed_images), out=str(tmp_path), **MIXED)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=f"{message}.*give another --out"):
        shard(**{"images": str(mixed_images), "out": str(tmp_path), **MIXED, **change})
    assert contents(tmp_path) == before


def test_images_that_changed_since_are_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "images", "a.png", "b.png")
    shard(images=str(folder), out=str(tmp_path / "out"))
    fill(folder, "c.png")
    with pytest.raises(ValueError, match="number of images: 2 then, 3 now"):
        shard(images=str(folder), out=str(tmp_path / "out"))
    (folder / "c.png").unlink()
    fill(folder, "b.png", data=picture(40, 40))
    with pytest.raises(ValueError, match=r"images: '[0-9a-f]*' then"):
        shard(images=str(folder), out=str(tmp_path / "out"))


def test_shards_have_a_folder_of_their_own(tmp_path: Path) -> None:
    fill(tmp_path, "images/a.png", "out/ranker.json")
    with pytest.raises(ValueError, match=r"out: holds a ranker \(ranker\.json\): name another folder"):
        shard(images=str(tmp_path / "images"), out=str(tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ranker.json"]


def test_a_folder_with_tars_of_others_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "images/a.png", "out/mine.tar")
    with pytest.raises(ValueError, match=r"holds tars that were not made by this command, such as mine\.tar"):
        shard(images=str(tmp_path / "images"), out=str(tmp_path / "out"))

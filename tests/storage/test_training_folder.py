"""A folder that models are trained into: one run at a time, swept when it begins, without empty folders at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from storage.driver_lock import StoreBusy
from storage.location import Location
from storage.locations import locate
from storage.training_folder import begin_or_compare, compare, sole_trainer

SETTINGS: dict[str, Any] = {"steps": 3, "shards.sha256": "ab"}


def fill(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"x")


def paths_in(folder: Path) -> set[str]:
    """Files and folders."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_settings_are_noted_once_and_others_refused_with_what_differs(location: Location) -> None:
    for _ in range(2):
        begin_or_compare(location, "training.json", "done.json", SETTINGS)
    with pytest.raises(ValueError, match="was begun with other settings") as refusal:
        begin_or_compare(location, "training.json", "done.json", {**SETTINGS, "steps": 4})
    assert "steps: 3 in the folder, 4 now" in str(refusal.value)
    assert "sha256" not in str(refusal.value)


def test_comparing_writes_nothing(location: Location) -> None:
    compare(location, "training.json", "done.json", SETTINGS)
    assert location.walk() == []


def test_a_finished_model_without_settings_is_somebody_elses(location: Location) -> None:
    location.write("done.json", b"{}")
    with pytest.raises(ValueError, match="was not made here: name another folder"):
        begin_or_compare(location, "training.json", "done.json", SETTINGS)
    assert location.names() == ["done.json"]


def test_a_training_has_a_folder_of_its_own(location: Location) -> None:
    location.write("ranker.json", b"{}")
    with pytest.raises(ValueError, match=r"holds a ranker \(ranker\.json\): name another folder"):
        begin_or_compare(location, "training.json", "task.json", SETTINGS)
    with pytest.raises(ValueError, match="name another folder"), sole_trainer(location, ["full-seed0"]):
        pass
    assert location.names() == ["ranker.json"]


def test_a_second_trainer_is_refused_and_a_later_one_is_not(location: Location) -> None:
    location.write("training.json", b"{}")
    with sole_trainer(location), pytest.raises(StoreBusy), sole_trainer(location):
        raise AssertionError
    with sole_trainer(location):
        pass
    assert location.walk() == ["training.json"]


def test_what_killed_runs_left_half_written_is_swept_and_nothing_else(tmp_path: Path) -> None:
    theirs = ["photos/.album.1a2b.tmp", ".cache/.x.tmp", "checkpoints/deeper/.x.tmp", "notes.tmp", ".hidden"]
    ours = ["training.json", "checkpoints/state-00000001.0.pt", "a-seed0/training.json"]
    left = [
        ".mae.safetensors.1a2b3c4d.tmp",
        "checkpoints/.state-00000002.0.pt.1a2b3c4d.tmp",
        "best/.ranker.json.1a2b3c4d.tmp",
        "books/drivers/.000001.json.1a2b3c4d.tmp",
        "ray-train/run/trial/notes.json",
        "a-seed0/.task.safetensors.1a2b3c4d.tmp",
        "a-seed0/checkpoints/.state-00000002.0.pt.1a2b3c4d.tmp",
    ]
    fill(tmp_path, *theirs, *ours, *left)
    with sole_trainer(locate(tmp_path), ["", "a-seed0"]):
        assert {path for path in left if (tmp_path / path).exists()} == set()
    files = {path for path in paths_in(tmp_path) if (tmp_path / path).is_file()}
    assert files == {*theirs, *ours}
    assert not (tmp_path / "best").exists()
    assert not (tmp_path / "ray-train").exists()
    assert not (tmp_path / "books").exists()


def test_notes_of_ray_that_were_left_in_an_object_store_are_swept(s3_bucket: str) -> None:
    place = locate(f"{s3_bucket}/left")
    place.write("ray-train/run/notes.json", b"{}")
    place.write("training.json", b"{}")
    with sole_trainer(place):
        pass
    assert place.walk() == ["training.json"]


def test_a_refused_run_leaves_no_folder_and_a_users_own_stays(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for out in (tmp_path / "deep/new/out", tmp_path / "own"):
        with pytest.raises(ValueError, match="no tars"), sole_trainer(locate(out)):
            raise ValueError("no tars")
    assert paths_in(tmp_path) == {"own"}

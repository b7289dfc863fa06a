"""What lies at a path, told to whoever expected something else there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from storage.locations import locate
from storage.patch_store import PatchStore
from storage.recognition import recognise, refuse_mixing, refuse_part, refuse_what_lies


def file(name: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / name).write_text("{}")

    return make


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda folder: None, "nothing"),
        (Path.mkdir, "an empty folder"),
        (Path.touch, "a file"),
        (lambda folder: PatchStore.create_or_open(str(folder), "scores", {"views": 1}), "a store of scores"),
        (file("zarr.json"), "a Zarr store"),
        (file("mae.json"), "an MAE (mae.json)"),
        (file("ranker.json"), "a ranker (ranker.json)"),
        (file("task.json"), "a model of a task (task.json)"),
        (file("classes.json"), "models of train-task, each in a folder of its own (classes.json)"),
        (file("training.json"), "a training that is not finished (training.json)"),
        (file("index.json"), "shards (index.json)"),
        (file("a-000.tar"), "a folder of tars"),
        (file("photo.jpg"), "a folder with photo.jpg"),
    ],
)
def test_what_lies_there_is_told(make: Callable[[Path], object], expected: str, tmp_path: Path) -> None:
    make(tmp_path / "x")
    place = locate(tmp_path / "x")
    assert recognise(place) == expected
    kind = FileNotFoundError if expected in ("nothing", "an empty folder") else ValueError
    with pytest.raises(kind) as refused:
        refuse_what_lies(place, "ranker", "a folder with ranker.json")
    assert str(refused.value) == f"{place.url}: no ranker there: expected a folder with ranker.json, got {expected}"


@pytest.mark.parametrize("name", ["zarr.json", "mae.json", "ranker.json", "pretraining.json", "index.json"])
def test_what_is_begun_has_a_folder_of_its_own(name: str, tmp_path: Path) -> None:
    file(name)(tmp_path / "x")
    place = locate(tmp_path / "x")
    with pytest.raises(ValueError, match=r"x: holds .*: name another folder"):
        refuse_mixing(place)
    refuse_mixing(place, ours=name)


@pytest.mark.parametrize("name", ["classes.json", "config.json", "result.json", "notes.txt"])
def test_anyones_files_are_in_nobodys_way(name: str, tmp_path: Path) -> None:
    file(name)(tmp_path / "x")
    refuse_mixing(locate(tmp_path / "x"))
    refuse_mixing(locate(tmp_path / "new"))


def test_of_many_files_a_few_are_told(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.jpg").touch()
    assert recognise(locate(tmp_path)) == "a folder with 0.jpg, 1.jpg, 2.jpg, …"


def test_it_works_in_object_stores() -> None:
    pytest.importorskip("obstore")
    place = locate("memory://recognition/mae")
    assert recognise(place) == "nothing"
    place.write("mae.json", b"{}")
    assert recognise(place) == "an MAE (mae.json)"


def test_one_file_of_a_folder_is_told_to_be_that(tmp_path: Path) -> None:
    files = ("mae.json", "mae.safetensors")
    refuse_part(str(tmp_path / "mae.safetensors"), files)
    (tmp_path / "mae.safetensors").touch()
    refuse_part(str(tmp_path / "mae.safetensors"), files)  # of some other code, perhaps
    (tmp_path / "mae.json").touch()
    for name in files:
        with pytest.raises(ValueError, match=rf"{name}: expected a folder, got one of its files: name the folder, /"):
            refuse_part(str(tmp_path / name), files)

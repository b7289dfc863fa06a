"""What lies in a folder of a run is found by the files in it."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest

from stages.reporting import parts
from stages.reporting.counts import count_shards, count_store
from stages.reporting.parts import find_parts
from stages.reporting.settings_shown import read_settings, settings_shown
from storage.local_files import LocalFiles
from storage.location import Location
from storage.locations import locate

EARLIER = Path(__file__).parent.parent / "fixtures" / "earlier"


def test_all_parts_are_found_in_the_order_of_the_data_finished_or_not() -> None:
    found = find_parts(locate(EARLIER))
    assert [(part.kind, part.path, part.is_finished) for part in found.parts] == [
        ("shards", "shards", True),
        ("mae", "mae", True),
        ("mae", "mae-interrupted", False),
        ("scores", "scores", True),
        ("scores", "scores-unfinished", True),
        ("ranker", "ranker", True),
        ("ranker", "ranker-interrupted", False),
        ("ranks", "ranks", True),
        ("ranks", "ranks-unfinished", True),
        ("task", "task-interrupted/topk-0.25-seed0", False),
        ("task", "task/topk-0.25-seed0", True),
    ]
    assert not found.is_cut
    assert not found.problems


@pytest.mark.parametrize("part", ["shards", "mae", "scores", "task/topk-0.25-seed0"])
def test_the_folder_that_is_named_may_be_a_part_itself(part: str) -> None:
    (found,) = find_parts(locate(EARLIER / part)).parts
    assert found.path == ""
    assert found.name == Path(part).name


def test_parts_are_found_wherever_a_run_lies(location: Location) -> None:
    for name in ("scores", "ranks", "shards"):
        for file in sorted((EARLIER / name).rglob("*")):
            if file.is_file():
                location.write(str(file.relative_to(EARLIER)), file.read_bytes())
    found = find_parts(location)
    assert [part.path for part in found.parts] == ["shards", "scores", "ranks"]
    counts = [count_shards(part) if part.kind == "shards" else count_store(part) for part in found.parts]
    assert [(each.done, each.shards, each.samples, each.kept) for each in counts] == [(2, 2, 8, 8)] * 3


def test_a_file_that_cannot_be_read_is_told_and_the_rest_is_found(tmp_path: Path) -> None:
    shutil.copytree(EARLIER / "mae", tmp_path / "mae")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "zarr.json").write_text("{")
    found = find_parts(locate(tmp_path))
    assert [part.path for part in found.parts] == ["mae"]
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"{tmp_path}/cut/zarr.json: expected a JSON object")


def test_a_folder_that_cannot_be_listed_is_told_and_the_rest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's, say: by its mode alone, root may list it."""
    shutil.copytree(EARLIER / "mae", tmp_path / "mae")
    shutil.copytree(EARLIER / "ranker", tmp_path / "y" / "ranker")
    (tmp_path / "x").mkdir()
    denied, listed = [tmp_path / "x"], LocalFiles.names

    def names_allowed(self: LocalFiles, prefix: str = "") -> list[str]:
        if self.root in denied:
            raise PermissionError(errno.EACCES, "Permission denied", str(self.root))
        return listed(self, prefix)

    monkeypatch.setattr(LocalFiles, "names", names_allowed)
    found = find_parts(locate(tmp_path))
    assert [part.path for part in found.parts] == ["mae", "y/ranker"]
    assert found.problems == (f"{tmp_path}/x: Permission denied",)
    denied.append(tmp_path)
    with pytest.raises(PermissionError, match="Permission denied"):
        find_parts(locate(tmp_path))


def test_no_more_folders_are_looked_into_than_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        shutil.copytree(EARLIER / "mae", tmp_path / f"mae{number}")
    monkeypatch.setattr(parts, "MOST_FOLDERS", 3)
    found = find_parts(locate(tmp_path))
    assert [part.path for part in found.parts] == ["mae0", "mae1"]
    assert found.is_cut


def test_counts_of_an_unfinished_store_and_of_skipped_images(tmp_path: Path) -> None:
    (store,) = find_parts(locate(EARLIER / "scores-unfinished")).parts
    counts = count_store(store)
    assert (counts.done, counts.shards, counts.kept, counts.skipped) == (1, 1, 4, 0)

    shards = Path(shutil.copytree(EARLIER / "shards", tmp_path / "shards"))
    index = json.loads((shards / "index.json").read_text())
    index["info"] |= {"images": 11, "left_out": 3}
    (shards / "index.json").write_text(json.dumps(index))
    left_out = [{"path": f"{number}.jpg", "reason": "<b>cut</b>" if number else "no image"} for number in range(3)]
    (shards / "left_out.json").write_text(json.dumps(left_out))
    counts = count_shards(find_parts(locate(shards)).parts[0])
    assert (counts.samples, counts.kept, counts.skipped, counts.adds_up) == (11, 8, 3, True)
    assert counts.reasons == (("<b>cut</b>", 2), ("no image", 1))
    index["info"]["images"] = 12
    (shards / "index.json").write_text(json.dumps(index))
    assert not count_shards(find_parts(locate(shards)).parts[0]).adds_up


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        (
            "scores",
            {"masks.ratio": ("0.75", "0.9"), "masks.kind": ("partition", "spread"), "decode": ("full", "cells")},
        ),
        ("mae", {"steps": ("100", "2000"), "batch_size": ("4", "16")}),
        ("ranker", {"batch_size": ("4", "64"), "split": ("shard", "key"), "validation": ("0.5", "0.1")}),
        ("ranks", {}),
    ],
)
def test_settings_that_differ_from_the_defaults_are_marked(path: str, changed: dict[str, tuple[str, str]]) -> None:
    """What the tests of earlier folders were made with, beside pipeline.yaml's defaults."""
    (part,) = find_parts(locate(EARLIER / path)).parts
    shown = settings_shown(part, read_settings(part))
    found = {each.name: (each.value, each.default) for each in shown.changed}
    own = {name: each for name, each in found.items() if not name.startswith("mae.")}  # its own small architecture
    assert own == changed

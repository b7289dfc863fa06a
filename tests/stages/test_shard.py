"""The stage `shard`: what it makes, of what."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
import webdataset
from mixed_images import BAD_IMAGES, MIXED, all_samples, contents, shard
from pictures import fill, mask, picture
from PIL import Image
from pydantic import ValidationError

from stages.images import decoding
from stages.settings.shard import ShardConfig
from stages.shard import ShardSummary, run_shard
from storage.locations import locate
from storage.shard_index import expand_shards, read_index


def test_books_are_closed_and_every_image_left_out_is_listed_with_its_reason(
    mixed_shards: tuple[Path, ShardSummary],
) -> None:
    out, summary = mixed_shards
    assert (summary.images, summary.samples, len(summary.left_out), summary.ignored) == (46, 40, 6, 1)
    expected = {path: reason for path, (_, reason) in BAD_IMAGES.items()}
    expected["bad/link.jpg"] = "no such file, or not a plain one"
    assert {each.path: each.reason for each in summary.left_out} == expected
    listed = json.loads((out / "left_out.json").read_text())
    assert listed == [{"path": path, "reason": expected[path]} for path in sorted(expected)]
    assert sum(entry.nsamples or 0 for entry in summary.shards) == 40 == len(all_samples(out))


def test_the_index_says_what_the_tars_hold(mixed_shards: tuple[Path, ShardSummary]) -> None:
    out, summary = mixed_shards
    index = read_index(locate(out))
    assert [entry.name for entry in index.shards] == [f"t-{number:06}" for number in range(6)]
    assert index.shards == summary.shards == tuple(expand_shards([str(out)]))
    assert index.info == {
        "kind": "class folders",
        "classes": ["bad", "class 0", "class 1", "class 2"],
        "images": 46,
        "left_out": 6,
    }


def test_samples_hold_the_original_bytes_their_class_and_where_they_come_from(
    mixed_images: Path, mixed_shards: tuple[Path, ShardSummary]
) -> None:
    samples = all_samples(mixed_shards[0])
    facts = {key: json.loads(fields["json"]) for key, fields in samples.items()}
    assert len({each["path"] for each in facts.values()}) == 40
    for key, fields in samples.items():
        path = facts[key]["path"]
        assert fields["png"] == (mixed_images / path).read_bytes()
        assert int(fields["cls"]) == 1 + int(path[6])
        assert facts[key]["class"] == path[:7]
        assert (facts[key]["width"], facts[key]["height"]) == (32, 24)


def test_plain_webdataset_and_tarfile_read_the_tars(mixed_shards: tuple[Path, ShardSummary]) -> None:
    out, summary = mixed_shards
    urls = [entry.url for entry in summary.shards]
    dataset = webdataset.WebDataset(urls, shardshuffle=False).decode("pil")
    assert [sample["__key__"] for sample in dataset] == list(all_samples(out))
    assert all(sample["png"].size == (32, 24) and sample["cls"] in (1, 2, 3) for sample in dataset)
    for url in urls:
        with tarfile.open(url) as tar:
            assert all(member.isreg() and member.mtime == 0 and member.uid == 0 for member in tar.getmembers())


def test_any_number_of_workers_makes_the_same_files(
    mixed_images: Path, mixed_shards: tuple[Path, ShardSummary], tmp_path: Path
) -> None:
    shard(images=str(mixed_images), out=str(tmp_path / "out"), workers=3, **MIXED)
    assert contents(tmp_path / "out") == contents(mixed_shards[0])


def test_the_order_depends_on_the_seed_and_can_be_that_of_the_paths(mixed_images: Path, tmp_path: Path) -> None:
    orders = {}
    ways: dict[str, dict[str, Any]] = {"0": {"seed": 0}, "1": {"seed": 1}, "path": {"shuffle": False}}
    for name, settings in ways.items():
        shard(images=str(mixed_images), out=str(tmp_path / name), **MIXED, **settings)
        orders[name] = list(all_samples(tmp_path / name))
    assert sorted(orders["0"]) == sorted(orders["1"]) == orders["path"]
    assert len({tuple(order) for order in orders.values()}) == 3


def test_an_unusable_image_changes_only_its_own_tar(mixed_images: Path, tmp_path: Path) -> None:
    fill(tmp_path / "images", *[f"{number}.png" for number in range(20)])
    shard(images=str(tmp_path / "images"), out=str(tmp_path / "good"), shard_size=5)
    (tmp_path / "images" / "7.png").write_bytes(b"spoilt")
    summary = shard(images=str(tmp_path / "images"), out=str(tmp_path / "bad"), shard_size=5)
    good, bad = contents(tmp_path / "good"), contents(tmp_path / "bad")
    assert sum(good[entry.name + ".tar"] != bad[entry.name + ".tar"] for entry in summary.shards) == 1
    assert sorted(entry.nsamples or 0 for entry in summary.shards) == [4, 5, 5, 5]


def test_an_image_that_does_not_fit_into_memory_is_left_out_and_the_others_are_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "images", "a.png", "c.png")
    fill(folder, "b.png", data=picture(40, 40))
    load = decoding._load

    def load_small(image: Image.Image) -> None:
        if image.width > 32:
            raise MemoryError
        load(image)

    monkeypatch.setattr(decoding, "_load", load_small)
    summary = shard(images=str(folder), out=str(tmp_path / "out"))
    reason = "not enough memory: 40x40 pixels need about 0 MiB"
    assert [(each.path, each.reason) for each in summary.left_out] == [("b.png", reason)]
    assert sorted(all_samples(tmp_path / "out")) == ["a", "c"]


# sources and places


def test_unusual_names_keep_their_samples_apart(tmp_path: Path) -> None:
    names = [
        "a.b.jpg",
        "a#b.jpg",
        "a b.jpg",
        "ü.jpg",
        "ö.jpg",
        "-rf.jpg",
        "$(x).jpg",
        os.fsdecode(b"\xff.jpg"),
    ]
    for number, name in enumerate(names):
        fill(tmp_path / "images", name, data=picture(20 + number, 20))
    shard(images=str(tmp_path / "images"), out=str(tmp_path / "out"))
    facts = [json.loads(fields["json"]) for fields in all_samples(tmp_path / "out").values()]
    assert {(each["path"], each["width"]) for each in facts} == {(name, 20 + i) for i, name in enumerate(names)}


def test_images_that_are_all_unusable_are_an_error_that_says_where_the_reasons_are(tmp_path: Path) -> None:
    folder = fill(tmp_path / "images", "a.png", "b.png", data=b"")
    with pytest.raises(ValueError, match=r"none of the 2 images can be used: .*left_out\.json"):
        shard(images=str(folder), out=str(tmp_path / "out"))
    assert len(json.loads((tmp_path / "out" / "left_out.json").read_text())) == 2


def test_the_folder_of_images_cannot_be_the_output(tmp_path: Path) -> None:
    folder = fill(tmp_path / "images", "a.png")
    os.symlink(folder, tmp_path / "same")
    for out in (folder, tmp_path / "same", tmp_path / "images" / ".." / "images"):
        with pytest.raises(ValueError, match="is the folder of images"):
            shard(images=str(folder), out=str(out))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "expected one of images, scenes, voc"),
        ({"images": "a", "scenes": 3}, "expected one of images, scenes, voc"),
        ({"images": "a", "voc_set": "train"}, "voc_set belongs to voc"),
        ({"scenes": 3, "coco": "a"}, "coco belongs to images"),
        ({"images": "a", "scene_size": 64}, "scene_size belongs to scenes"),
        ({"images": "a", "coco": "a", "masks": "b"}, "expected one of coco, masks and csv, got coco and masks"),
        ({"images": "a", "shard_size": 0}, "shard_size"),
        ({"images": "a", "unknown": 1}, "unknown"),
        ({"images": "a", "seed": "1"}, "seed"),
        ({"images": "a", "name": "a.b"}, "name"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ShardConfig(out="out", **settings)


def test_masks_and_scenes_become_samples_with_masks(tmp_path: Path) -> None:
    fill(tmp_path / "images", "a.jpg", "b.jpg", data=picture(format_="JPEG"))
    fill(tmp_path / "masks", "a.png", data=mask())
    summary = shard(images=str(tmp_path / "images"), masks=str(tmp_path / "masks"), out=str(tmp_path / "out"))
    assert [(each.path, each.reason) for each in summary.left_out] == [
        ("b.jpg", "mask: no such file, or not a plain one")
    ]
    assert sorted(all_samples(tmp_path / "out")["a"]) == ["jpg", "json", "seg.png"]
    assert shard(scenes=5, scene_size=48, out=str(tmp_path / "scenes"), shard_size=2).samples == 5
    assert set(all_samples(tmp_path / "scenes")) == {f"scene-{number:08}" for number in range(5)}


def test_the_output_may_be_an_object_store(mixed_images: Path, mixed_shards: tuple[Path, ShardSummary]) -> None:
    pytest.importorskip("obstore")
    summary = shard(images=str(mixed_images), out="memory://shards/train", **MIXED)
    out = locate(summary.out)
    assert {path: out.read(path) for path in out.walk() if path.endswith(".tar")} == {
        path: data for path, data in contents(mixed_shards[0]).items() if path.endswith(".tar")
    }
    assert shard(images=str(mixed_images), out="memory://shards/train", **MIXED).written == 0


def test_events_tell_what_is_done(mixed_images: Path, tmp_path: Path) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    run_shard(
        ShardConfig(images=str(mixed_images), out=str(tmp_path), **MIXED),
        lambda event, facts: events.append((event, facts)),
    )
    counts = {"images": 46, "ignored": 1}
    notes = ("Class folders: 4 classes (bad, class 0, class 1, class 2).",)
    assert events[0] == ("plan", {**counts, "shards": 6, "done": 0, "notes": notes})
    assert [event for event, _ in events[1:]] == ["shard"] * 6
    assert sum(facts["samples"] + facts["left_out"] for _, facts in events[1:]) == 46

"""Maps of a report are those of the tars that lie there now: what was computed from others in their place is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ranked_tars import INFO, scene_fields, write_ranked, write_scores, write_tar
from scored_stores import write_scored

from stages.reporting import gallery_tars
from stages.reporting.gallery import Gallery, make_gallery
from stages.reporting.models import Models
from stages.reporting.parts import find_parts
from stages.samples.joined import TarChecksums
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.shard_index import INDEX_NAME, ShardEntry, index_bytes

INDEXES: dict[str, Callable[[Path, ShardEntry], object]] = {
    "of the new tar": lambda tars, entry: locate(tars).write(INDEX_NAME, index_bytes("scenes", INFO, [entry])),
    "of the old tar": lambda tars, entry: None,
    "none": lambda tars, entry: (tars / INDEX_NAME).unlink(),
}


def gallery_of(run: Path, images: int = 8) -> Gallery:
    return make_gallery(find_parts(locate(run)), Models({}, {}, True, ()), images, lambda *_: None)


def maps(gallery: Gallery) -> dict[str, list[str]]:
    """By TAR/KEY, whose they are."""
    return {f"{each.shard}/{each.key}": [order.source for order in each.orders] for each in gallery.images}


def exchange_images(folder: Path) -> ShardEntry:
    """FOLDER/tars/t.tar anew, with the same keys and as many bytes, and the image of each the other's."""
    size = (folder / "tars/t.tar").stat().st_size
    entry = write_tar(folder, "t", ["a", "b"], lambda key, _: scene_fields({"a": "b", "b": "a"}[key]))
    assert entry.filesize == size
    return entry


def told(run: Path, what: str = "ranks") -> str:
    return f"{run}/tars/t.tar: has changed since its {what} were computed: expected md5 "


@pytest.mark.parametrize("index", INDEXES)
def test_maps_are_not_drawn_over_another_tar_of_the_same_length(index: str, tmp_path: Path) -> None:
    write_ranked(tmp_path, {"t": ["a", "b"]})
    assert maps(gallery_of(tmp_path)) == {"t/a": ["ranks"], "t/b": ["ranks"]}
    entry = exchange_images(tmp_path)
    INDEXES[index](tmp_path / "tars", entry)
    gallery = gallery_of(tmp_path)
    assert not gallery.images
    (problem,) = gallery.problems
    assert problem.startswith(told(tmp_path))
    assert problem.endswith(f", got {entry.md5sum}")


def test_of_a_tar_too_large_to_be_read_its_index_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_tars, "MOST_BYTES", 1000)
    write_ranked(tmp_path, {"t": ["a", "b"]})
    assert maps(gallery_of(tmp_path)) == {"t/a": ["ranks"], "t/b": ["ranks"]}
    entry = exchange_images(tmp_path)
    INDEXES["of the new tar"](tmp_path / "tars", entry)
    gallery = gallery_of(tmp_path)
    assert not gallery.images
    assert [problem.partition("md5 ")[0] + "md5 " for problem in gallery.problems] == [told(tmp_path)]


def test_a_tar_that_has_changed_costs_neither_the_others_nor_a_store_of_what_it_is_now(tmp_path: Path) -> None:
    settings = write_ranked(tmp_path, {"t": ["a", "b"], "u": ["c"]}, info=None).settings
    entry = exchange_images(tmp_path)
    gallery = gallery_of(tmp_path)
    assert maps(gallery) == {"u/c": ["ranks"]}
    assert [problem.startswith(told(tmp_path)) for problem in gallery.problems] == [True]

    new = PatchStore.create_or_open(str(tmp_path / "new"), "ranks", settings)
    new.books.open_for([entry])
    write_scores(new, entry, ["a", "b"])
    gallery = gallery_of(tmp_path)
    assert maps(gallery) == {"t/a": ["new"], "t/b": ["new"], "u/c": ["ranks"]}
    assert [problem.startswith(told(tmp_path)) for problem in gallery.problems] == [True]


def test_each_store_that_a_tar_is_not_of_any_more_is_told(tmp_path: Path) -> None:
    write_ranked(tmp_path, {"t": ["a", "b"]}, info=None)
    (tmp_path / "ranks").rename(tmp_path / "first")
    write_ranked(tmp_path, {"t": ["a", "b"]}, content="scores", info=None)
    assert maps(gallery_of(tmp_path)) == {"t/a": ["ranks", "first"], "t/b": ["ranks", "first"]}
    exchange_images(tmp_path)
    gallery = gallery_of(tmp_path)
    assert not gallery.images
    assert sorted(problem.partition("md5 ")[0] + "md5 " for problem in gallery.problems) == [
        told(tmp_path),
        told(tmp_path, "scores"),
    ]


def test_another_set_of_tars_of_the_same_names_is_not_one_that_has_changed(tmp_path: Path) -> None:
    for name, keys in (("training", ["a", "b"]), ("validation", ["c", "d"])):
        store = write_ranked(tmp_path / name, {"t": keys})
        store.books.open_for([ShardEntry(f"{tmp_path / name}/tars/t.tar")])
        write_scores(store, write_tar(tmp_path / name, "t", keys), keys)
    gallery = gallery_of(tmp_path)
    assert maps(gallery) == {
        **{f"t/{key}": ["training/ranks"] for key in "ab"},
        **{f"t/{key}": ["validation/ranks"] for key in "cd"},
    }
    assert not gallery.problems


def test_no_more_tars_are_read_whole_than_are_drawn_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = TarChecksums.of

    def noted(self: TarChecksums, shard: ShardEntry) -> str:
        read.append(shard.url)
        return whole(self, shard)

    monkeypatch.setattr(TarChecksums, "of", noted)
    write_scored(tmp_path, {f"t{number:02}": [f"k{number}"] for number in range(12)})
    gallery = gallery_of(tmp_path)
    assert len(gallery.images) == gallery_tars.SHARDS
    assert {url.rpartition("/")[2] for url in read} == {f"{each.shard}.tar" for each in gallery.images}
    read.clear()
    assert not gallery_of(tmp_path, images=0).images
    assert not read

"""`show` of what a store has of a tar in whose place another lies by now, of just as many bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pictures import encoded, fill
from ranked_tars import INFO, scene_fields, write_ranked, write_tar

from pipeline.cli import main
from stages.settings.show import ShowConfig
from stages.sources.scenes import draw_scene
from storage.locations import locate
from storage.shard_index import INDEX_NAME, ShardEntry, index_bytes

AS_SHOWN = {"views.crop": ShowConfig(images=[], out="").crop}
INDEXES: dict[str, Callable[[Path, ShardEntry], object]] = {
    "of the new tar": lambda tars, entry: locate(tars).write(INDEX_NAME, index_bytes("scenes", INFO, [entry])),
    "of the old tar": lambda tars, entry: None,
    "none": lambda tars, entry: (tars / INDEX_NAME).unlink(),
}


def show(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["show", *map(str, arguments)])


def exchange_images(folder: Path) -> ShardEntry:
    """FOLDER/tars/t.tar, with the keys and the length that it has elsewhere, and the image of each the other's."""
    return write_tar(folder, "t", ["a", "b"], lambda key, _: scene_fields({"a": "b", "b": "a"}[key]))


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("source", ["--scores", "--method"])
def test_scores_of_a_tar_are_not_drawn_over_another_of_its_length(source: str, index: str, tmp_path: Path):
    write_ranked(tmp_path, {"t": ["a", "b"]}, content="scores", settings=AS_SHOWN)
    tar, store, out = tmp_path / "tars/t.tar", tmp_path / "ranks", tmp_path / "out.png"
    arguments = [source, f"mae={store}" if source == "--method" else store, "--count", 1, "--out", out]
    result = show(tar, *arguments)
    assert result.exit_code == 0, result.output
    out.unlink()
    size = tar.stat().st_size
    entry = exchange_images(tmp_path)
    assert tar.stat().st_size == size
    INDEXES[index](tmp_path / "tars", entry)
    for shown in [tar, tmp_path / "tars"]:
        result = show(shown, *arguments)
        assert result.exit_code == 1
        assert f"Error: {tar}: has changed since its scores were computed: expected md5 " in result.output
        assert f", got {entry.md5sum}\n" in result.output
    assert not out.exists()


def test_a_tar_of_the_same_name_in_another_folder_is_compared_too(tmp_path: Path):
    write_ranked(tmp_path, {"t": ["a", "b"]})
    exchange_images(tmp_path / "more")
    tars, out = [tmp_path / "tars/t.tar", tmp_path / "more/tars/t.tar"], tmp_path / "out.png"
    result = show(*tars, "--scores", tmp_path / "ranks", "--count", 2, "--out", out)
    assert f"Error: {tars[1]}: has changed since its ranks were computed: expected md5 " in result.output
    assert not out.exists()


def test_a_file_is_no_image_of_a_store_that_a_method_looks_at(tmp_path: Path):
    write_ranked(tmp_path, {"t": ["a", "b"]}, content="scores", settings=AS_SHOWN)
    fill(tmp_path, "a.png", data=encoded(draw_scene(0, 0, 40).image))
    store, out = tmp_path / "ranks", tmp_path / "out.png"
    expected = f"Error: {tmp_path}/a.png: expected an image of a tar whose scores {store} has, got a file\n"
    for shown in ([tmp_path / "a.png"], [tmp_path / "tars", tmp_path / "a.png"]):
        for source in (["--method", f"mae={store}"], ["--scores", store]):
            result = show(*shown, *source, "--out", out)
            assert (result.exit_code, result.output) == (1, expected)

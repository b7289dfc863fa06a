"""Pictures of what a ranker sees, and of what a reconstruction loses with a patch."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from pictures import encoded, fill
from PIL import Image
from scoring import score_config, score_in_process
from small_models import SMALL, SMALL_RANKER, write_ranker
from turned_pictures import ORIENTATIONS, photograph, stored, upright_mask

from pipeline.cli import main
from ranker.network import PatchRankingTransformer
from ranker.patch_ranker import PatchRanker
from ranker.pretrained import encode_ranker
from ranker.selection import top_patches
from stages.density.mae import MaskedAutoencoder
from stages.density.mae_checkpoints import load_mae, save_mae
from stages.density.patch_removal import remove_patch
from stages.density.reconstruction import paste_prediction
from stages.density.removal import remove_in_decoder
from stages.density.scorer import DensityScorer
from stages.images.decoding import decode_image
from stages.images.drawing import GREY, enlarged, only_patches, outlined
from stages.images.normalisation import denormalise, normalise
from stages.images.views import evaluation_view, render
from stages.samples.named import ShownImage, evenly, find_shown
from stages.settings.choices import PixelTarget
from stages.settings.shard import ShardConfig
from stages.settings.show import ShowConfig
from stages.shard import run_shard
from stages.show import open_sources
from stages.showing.rows import Row, draw_page, draw_row
from stages.sources.scenes import draw_scene
from storage.locations import locate
from storage.scores import read_scores
from storage.shard_files import read_shard, write_shard
from storage.shard_index import expand_shards

PHOTOGRAPH = encoded(draw_scene(0, 0, 40).image)
VISIBLE = np.array([1, 6, 8, 15], dtype=np.int16)
SIDE = 336
"""Of the pictures of a row."""


def shown(name: str = "a.png", key: str = "a", data: bytes = PHOTOGRAPH) -> ShownImage:
    return ShownImage(name, name, key, lambda: data)


def row_of(image: ShownImage, *rankers: Path, mae: Path | None = None, **settings) -> tuple[ShowConfig, Row]:
    given = {"images": [], "out": "", "mask_ratio": 0.75, **settings}
    config = ShowConfig(ranker=[str(each) for each in rankers], mae=None if mae is None else str(mae), **given)
    model = None if mae is None else load_mae(str(mae)).build().eval()
    decoded = image.decode()
    sources = open_sources(config, [image], torch.device("cpu"))
    return config, draw_row(config, sources, model, image, decoded, evaluation_view(*decoded.size), side=SIDE)


def show(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["show", *map(str, arguments)])


def ranked(ranker: Path, data: bytes = PHOTOGRAPH) -> torch.Tensor:
    """The scores of its evaluation crop, as the ranker sees it."""
    model, image = PatchRanker.from_pretrained(ranker), decode_image(data)
    crop = render(image, evaluation_view(*image.size), model.config.image_size)
    return model.rank(torch.tensor(crop).permute(2, 0, 1)[None])[0]


def blocks(picture: np.ndarray, grid: int = 4) -> np.ndarray:
    """(grid * grid, ...): the pixels of each patch."""
    side = len(picture) // grid
    return picture.reshape(grid, side, grid, side, 3).swapaxes(1, 2).reshape(grid * grid, side, side, 3)


@pytest.mark.parametrize("target", ["raw", "normalized"])
def test_the_removal_of_a_patch_is_the_one_that_is_scored(target: PixelTarget):
    torch.manual_seed(0)
    mae = MaskedAutoencoder(dataclasses.replace(SMALL, pixel_target=target)).eval()
    image = draw_scene(0, 1, 32).image
    removal = remove_patch(mae, image, VISIBLE, patch=8)

    images, visible = torch.tensor(image).permute(2, 0, 1)[None], torch.tensor(VISIBLE)[None].long()
    np.testing.assert_allclose(removal.scores, DensityScorer(mae)(images, visible)[0], rtol=1e-4)
    assert removal.scores[2] == pytest.approx(np.nanmean(removal.difference), rel=1e-4)
    hidden = np.isnan(blocks(removal.difference[..., None].repeat(3, axis=-1))).all(axis=(1, 2, 3))
    assert np.flatnonzero(hidden).tolist() == VISIBLE.tolist()

    pixels = normalise(images)
    with torch.no_grad():
        predicted, masked = mae.reconstruct(pixels, visible)
        without = mae.decoder_pred(remove_in_decoder(mae, pixels, visible)[1][:, 2])
        pair = [denormalise(paste_prediction(mae, pixels, each, masked))[0] for each in (predicted, without)]
    for drawn, expected in zip((removal.anchor, removal.without), pair, strict=True):
        assert (drawn == expected.permute(1, 2, 0).numpy()).mean() > 0.99  # some are rounded the other way
    changed = (removal.without != removal.anchor).any(axis=-1)
    assert changed.any()
    assert not blocks(changed[..., None].repeat(3, axis=-1))[VISIBLE].any(), "visible patches are pasted into both"


def test_a_row_shows_the_crop_its_scores_and_the_patches_that_score_highest(small_ranker: Path):
    _, row = row_of(shown(), small_ranker, keep=(0.5, 0.25))
    crop, scores, *kept = row.pictures
    assert row.title == "a.png"
    assert crop.shape == scores.shape == (SIDE, SIDE, 3), "of more pixels than the ranker sees"
    expected = render(decode_image(PHOTOGRAPH), evaluation_view(40, 40), SIDE)
    np.testing.assert_array_equal(crop, expected)
    for picture, ratio in zip(kept, (0.5, 0.25), strict=True):
        same = (blocks(picture) == blocks(crop)).all(axis=(1, 2, 3))
        assert np.flatnonzero(same).tolist() == top_patches(ranked(small_ranker), ratio).tolist()
        assert (blocks(picture)[~same] == GREY).all()


def test_by_default_the_patch_that_the_ranker_puts_first_is_taken_away(small_ranker: Path, small_mae: Path):
    _, plain = row_of(shown(), small_ranker)
    config, row = row_of(shown(), small_ranker, mae=small_mae)
    first = int(ranked(small_ranker).argmax())
    assert f"patch in row {first // 4}, column {first % 4}; rank 1 of 16 by {small_ranker.name}; " in row.title
    assert len(row.pictures) == len(plain.pictures) + 4
    red = (blocks(row.pictures[0]) == (255, 0, 0)).all(axis=-1).any(axis=(1, 2))
    assert np.flatnonzero(red).tolist() == [first], "framed in the image"
    sources = open_sources(config, [], torch.device("cpu"))
    assert draw_page(config, sources, [row], load_mae(str(small_mae)).config, across=1).width > 9 * 160


@pytest.mark.parametrize("patch", [(0, 0), (3, 1)])
def test_a_mask_shows_the_patch_that_was_asked_for(patch: tuple[int, int], small_ranker: Path, small_mae: Path):
    _, row = row_of(shown(), small_ranker, mae=small_mae, patch=patch)
    number = patch[0] * 4 + patch[1]
    assert f"row {patch[0]}, column {patch[1]}" in row.title
    visible, anchor, without, _ = (blocks(picture) for picture in row.pictures[-4:])
    middle = slice(15, 25)  # of the 40 pixels of an enlarged patch, inside its frame
    seen = [place for place in range(16) if (visible[place, middle, middle] != GREY).any()]
    assert number in seen
    assert len(seen) == 4
    assert (without[number, middle, middle] == GREY).all(), "what is taken away is not to be seen"
    changed = [place for place in range(16) if (without[place] != anchor[place]).any()]
    assert len(changed) > 1, "other patches are reconstructed in another way"
    assert set(changed).isdisjoint(set(seen) - {number})


def test_masks_and_scores_are_those_of_the_store(tmp_path: Path, scene_shards: Path, small_mae: Path):
    ranker = write_ranker(tmp_path / "ranker")
    config = score_config(scene_shards, small_mae, tmp_path / "store", decode="full")
    store, _ = score_in_process(config)
    shard = expand_shards([str(scene_shards)])[0]
    scores = read_scores(store, shard.name)
    for number, sample in enumerate(list(read_shard(shard))[:2]):
        assert scores.key[number] == sample.key
        _, row = row_of(shown("x", sample.key, sample.image), ranker, mae=small_mae, patch=(1, 2))
        said = re.search(r"semantic density ([0-9.e-]+),", row.title)
        first_round = scores.visible[number, 0, :4].ravel().tolist()
        stored = scores.score[number, 0, :4].ravel()[first_round.index(6)]
        assert said
        assert float(said[1]) == pytest.approx(float(stored), rel=0.01)


def test_an_mae_of_another_size_but_the_same_grid_is_shown_at_its_own(tmp_path: Path, small_ranker: Path):
    torch.manual_seed(0)
    save_mae(MaskedAutoencoder(dataclasses.replace(SMALL, image_size=64, patch_size=16)), str(tmp_path), {})
    _, row = row_of(shown(), small_ranker, mae=tmp_path)
    assert {len(picture) for picture in row.pictures[:2]} == {SIDE}
    assert {len(picture) for picture in row.pictures[-4:]} == {192}


def test_the_command_shows_files_folders_and_tars(
    tmp_path: Path, scene_shards: Path, small_ranker: Path, small_mae: Path
):
    folder = fill(tmp_path / "photographs", "a/1.png", "b/2.png", data=PHOTOGRAPH)
    file = fill(tmp_path, "alone.PNG", data=PHOTOGRAPH) / "alone.PNG"
    tars, out = tmp_path / "few", folder / "picture.png"
    run_shard(ShardConfig(scenes=3, scene_size=40, shard_size=2, out=str(tars), name="few"), lambda *_: None)
    arguments = [file, folder, tars, tars / "few-000001.tar", "--ranker", small_ranker]
    arguments += ["--mae", small_mae, "--mask-ratio", 0.75, "--keep", 0.5, "--out", out]
    for _ in range(2):  # the second time the picture lies among the photographs
        result = show(*arguments, "--count", 100)
        assert result.exit_code == 0, result.output
        assert f"{out}: {1 + 2 + 3 + 1} images\n" in result.output
    assert Image.open(out).format == "PNG"
    result = show(file, folder, scene_shards, "--ranker", small_ranker, "--out", out)
    assert f"{out}: 12 images\n" in result.output


def test_what_cannot_be_used_is_named_and_the_others_are_shown(tmp_path: Path, small_ranker: Path):
    fill(tmp_path, "notes.txt", data=b"no image")
    fill(tmp_path, "cut.png", data=PHOTOGRAPH[:100])
    fill(tmp_path, "good.png", data=PHOTOGRAPH)
    out = tmp_path / "out.png"
    names = [tmp_path / name for name in ("notes.txt", "good.png", "cut.png")]
    result = show(*names, "--ranker", small_ranker, "--out", out)
    assert result.exit_code == 0
    assert f"skipped: {tmp_path}/notes.txt: not an image" in result.output
    assert f"skipped: {tmp_path}/cut.png: " in result.output
    assert f"{out}: 1 image\n" in result.output
    out.unlink()
    result = show(tmp_path / "notes.txt", "--ranker", small_ranker, "--out", out)
    assert result.exit_code == 1
    assert f"Error: {tmp_path}/notes.txt: not an image" in result.output
    assert "skipped" not in result.output
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere.png"], "nowhere.png: no such file or folder"),
        (["empty"], "empty: expected files that end in .jpg"),
        (["a.png", "--out", "a.png"], "a.png: is an image to show, and would be overwritten"),
        (["a.png", "--out", "x.jpg"], "out: expected a name that ends in .png, got x.jpg"),
        (["a.png", "--ranker", "nowhere"], "nowhere: no ranker there"),
        (["a.png", "--mae", "nowhere"], "nowhere: no MAE there"),
        (["a.png", "--mae", "mae", "--ranker", "finer"], "mae: the MAE sees 4x4 patches, finer 8x8"),
        (["a.png", "--mae", "mae"], "mask_ratio 0.9 of 16 patches leaves 1 visible"),
        (["a.png", "--patch", "0,0"], "patch: expected with mae"),
        (["a.png", "--mask-ratio", "0.5"], "mask_ratio: expected with mae, whose masks it is of, got 0.5"),
        (["a.png", "--mae", "mae", "--mask-ratio", "0.75", "--patch", "1,4"], "from 0 to 3, got 1,4"),
        (["a.png", "--patch", "first"], "expected ROW,COLUMN such as 3,5, got 'first'"),
        (["a.png", "--keep", "0"], "0.0 is not in the range"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_gets_one_message_and_no_picture(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    small_ranker: Path,
    small_mae: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(fill(tmp_path, "a.png", "empty/.hidden/b.png", data=PHOTOGRAPH))
    Path("ranker").symlink_to(small_ranker)
    Path("mae").symlink_to(small_mae)
    if "finer" in arguments:
        write_ranker(tmp_path / "finer", patch_size=4)
    own = ["--ranker", "ranker"] if "--ranker" not in arguments else []
    result = show(*own, "--out", "out.png", *arguments)
    assert result.exit_code in (1, 2)
    assert expected in result.output
    assert "Traceback" not in result.output
    assert not Path("out.png").exists()
    assert Path("a.png").read_bytes() == PHOTOGRAPH


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path):
    ranker = PatchRankingTransformer(SMALL_RANKER)
    torch.nn.init.constant_(ranker.head.weight, torch.finfo(torch.float32).max)
    for name, data in encode_ranker(ranker, {}).items():
        locate(tmp_path / "my-ranker").write(name, data)
    with pytest.raises(ValueError, match=r"my-ranker: its scores of a\.png are not finite"):
        row_of(shown(), tmp_path / "my-ranker")


def test_images_are_picked_evenly_and_have_the_keys_that_shard_gives_them(tmp_path: Path):
    folder = fill(tmp_path, *(f"{name}/1.png" for name in "abcdef"), ".hidden/1.png", "a/notes.txt")
    found = find_shown([str(folder)], 3, except_url="")
    assert [image.name for image in found] == ["a/1.png", "c/1.png", "e/1.png"]
    assert [image.key for image in found] == ["a/1", "c/1", "e/1"]
    assert evenly("abc", 5) == ["a", "b", "c"]


def test_a_frame_lies_within_its_patch_and_others_stay_as_they_are():
    image = np.full((8, 8, 3), 77, dtype=np.uint8)
    framed = blocks(outlined(image, [2], grid=4, colour="red"))
    assert (framed[2, 0] == (255, 0, 0)).all()
    assert (framed[2, :, -1] == (255, 0, 0)).all()
    assert (framed[2, 10:30, 10:30] == 77).all()
    assert (np.delete(framed, 2, axis=0) == 77).all()


def test_small_images_are_enlarged_by_whole_numbers_and_large_ones_are_not():
    assert enlarged(np.zeros((64, 64, 3), dtype=np.uint8)).shape == (192, 192, 3)
    assert enlarged(np.zeros((224, 224, 3), dtype=np.uint8)).shape == (224, 224, 3)
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert (enlarged(image)[::20, ::20] == image).all()
    assert (only_patches(image, range(4), grid=2) == image).all()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_files_are_shown_upright_and_images_of_tars_as_they_are_stored(tmp_path: Path, orientation: int):
    data = photograph(orientation)
    fill(tmp_path / "photographs", "1.png", data=data)
    write_shard(locate(tmp_path), "a.tar", [("1", {"png": data})])
    for place in ("photographs", "photographs/1.png"):
        (image,) = find_shown([str(tmp_path / place)], 9, "")
        assert np.array_equal(np.asarray(image.decode())[..., 0], upright_mask()), place
    (image,) = find_shown([str(tmp_path / "a.tar")], 9, "")
    assert np.array_equal(np.asarray(image.decode())[..., 0], stored(upright_mask(), orientation))

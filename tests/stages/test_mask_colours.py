"""Values of masks that have other colours in other files are told."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from mixed_images import contents, shard
from pictures import encoded, fill, mask, png_chunk
from PIL import Image

from pipeline.cli import main
from stages.images.decoding import decode_mask, mask_colours
from stages.sharding.mask_colours import MOST_COLOURS, TarColours, note_differing_colours

BLACK, RED, BLUE = (0, 0, 0), (255, 0, 0), (0, 0, 255)
WHY = "Values are places in a palette, and taken for classes: all masks need the same palette."


def coloured(*palette: tuple[int, int, int], values: tuple[int, ...] = (0, 1)) -> bytes:
    """A mask of these values."""
    image = Image.fromarray(np.resize(np.array(values, np.uint8), (24, 32)), "P")
    image.putpalette([channel for colour in palette for channel in colour])
    return encoded(image)


def pairs(folder: Path, masks: dict[str, bytes]) -> dict[str, Any]:
    for name, data in masks.items():
        fill(folder / "images", f"{name}.png")
        fill(folder / "masks", f"{name}.png", data=data)
    return {"images": str(folder / "images"), "masks": str(folder / "masks"), "shuffle": False}


@pytest.fixture
def differing(tmp_path: Path) -> dict[str, Any]:
    """The value 1 is red in the first and last, and something else in two."""
    masks = [coloured(BLACK, RED), coloured(BLACK, BLUE), coloured(BLACK, (0, 255, 0)), mask(), coloured(BLACK, RED)]
    return pairs(tmp_path, dict(zip("abcde", masks, strict=True)))


TOLD = f"The value 1 is #ff0000 in the mask of a.png and #0000ff in that of b.png; 2 masks differ from the first. {WHY}"


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("shard_size", [1, 2, 9])
def test_a_value_of_several_colours_is_told_whatever_the_tars_and_threads(
    tmp_path: Path, differing: dict[str, Any], shard_size: int, workers: int
) -> None:
    summary = shard(**differing, out=str(tmp_path / "out"), shard_size=shard_size, workers=workers)
    assert summary.notes == ("Images with masks.", TOLD)


def test_it_is_told_of_tars_that_were_there_and_one_that_is_made_again_is_the_same(
    tmp_path: Path, differing: dict[str, Any]
) -> None:
    settings = {**differing, "out": str(tmp_path / "out"), "shard_size": 2}
    shard(**settings)
    before = contents(tmp_path / "out")
    for gone in ([], ["t-000000.tar"], ["t-000001.tar", "sharding/t-000002.json", "index.json"]):
        for name in gone:
            (tmp_path / "out" / name).unlink()
        assert shard(**settings).notes[1:] == (TOLD,)
        assert contents(tmp_path / "out") == before


def test_the_command_tells_it_in_a_line(tmp_path: Path, differing: dict[str, Any]) -> None:
    paths = ["--images", differing["images"], "--masks", differing["masks"], "--out", str(tmp_path / "out")]
    for _ in range(2):
        result = CliRunner().invoke(main, ["shard", *paths, "--no-shuffle"])
        assert result.exit_code == 0
        assert TOLD in result.output.splitlines()


def test_colours_that_no_pixel_has_grey_masks_and_shorter_palettes_are_no_difference(tmp_path: Path) -> None:
    masks = {
        "a": coloured(BLACK, RED, BLUE),
        "b": coloured(BLACK, BLUE, RED, values=(0,)),
        "c": coloured(BLACK, RED),
        "d": encoded(np.ones((24, 32), np.uint8)),
        "e": coloured(BLACK, RED, RED),
    }
    out = tmp_path / "out"
    assert shard(**pairs(tmp_path, masks), out=str(out)).notes == ("Images with masks.",)
    grey = pairs(tmp_path / "grey", {"a": mask(), "b": mask()})
    assert shard(**grey, out=str(tmp_path / "grey tars")).notes == ("Images with masks.",)
    assert "mask_colours" not in json.loads((tmp_path / "grey tars/sharding/t-000000.json").read_text())


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_colours_are_those_that_the_pixels_show(bits: int) -> None:
    rng = np.random.default_rng(bits)
    values = rng.choice(2**bits, 6).astype(np.uint8)[rng.integers(0, 6, (24, 32))]
    image = Image.fromarray(values, "P")
    image.putpalette(rng.integers(0, 256, 3 * 2**bits).tolist())
    data = encoded(image)
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    expected = {int(value): "#" + bytes(pixels[values == value][0]).hex() for value in np.unique(values)}
    assert mask_colours(data, decode_mask(data, (32, 24))) == expected


def test_a_value_beyond_the_end_of_its_palette_has_no_colour() -> None:
    header = struct.pack(">IIBBBBB", 4, 1, 8, 3, 0, 0, 0)  # by hand: Pillow writes no such file
    chunks = {b"IHDR": header, b"PLTE": b"\0\0\0\xff\0\0\0", b"IDAT": zlib.compress(b"\0\0\1\2\3"), b"IEND": b""}
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, content) for kind, content in chunks.items())
    found = decode_mask(data, (4, 1))
    assert np.asarray(found).tolist() == [[0, 1, 2, 3]]
    assert mask_colours(data, found) == {0: "#000000", 1: "#ff0000"}


def test_what_is_noted_of_a_tar_has_a_bound_and_the_count_says_so() -> None:
    found = TarColours()
    for number in range(1000):
        found.add(f"{number}.png", {0: "#000000", 1: f"#{number:06x}"})
    noted = found.found()
    assert len(noted) == 1 + MOST_COLOURS
    (note,) = note_differing_colours(noted)
    assert note.startswith("The value 1 is #000000 in the mask of 0.png and #000001 in that of 1.png; at least ")

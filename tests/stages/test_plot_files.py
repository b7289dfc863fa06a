"""A plot is written as pixels and as curves, and says in each file what it was made with."""

from __future__ import annotations

import io
import json
import zlib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure
from PIL import Image

from stages.plots.files import ENDINGS, Ending, encoded_plot, write_plot
from storage.locations import locate

SETTINGS = {"out": "work/<é>", "keep_ratio": [0.25], "seed": None}


def figure() -> Figure:
    drawn = Figure(figsize=(2, 1), dpi=50)
    drawn.subplots().plot([0, 1], [1, 0], label="line")
    return drawn


def test_three_files_stand_beside_each_other(tmp_path: Path) -> None:
    write_plot(locate(tmp_path), "plot", figure(), SETTINGS)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["plot.pdf", "plot.png", "plot.svg"]
    assert Image.open(tmp_path / "plot.png").size == (100, 50)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_plot_gives_the_same_bytes(ending: Ending) -> None:
    assert encoded_plot(figure(), ending, SETTINGS) == encoded_plot(figure(), ending, SETTINGS)


def test_settings_are_read_back_from_pixels_and_curves() -> None:
    png = Image.open(io.BytesIO(encoded_plot(figure(), "png", SETTINGS)))
    assert json.loads(png.info["Description"]) == SETTINGS
    svg = ElementTree.fromstring(encoded_plot(figure(), "svg", SETTINGS))
    (description,) = svg.iter("{http://purl.org/dc/elements/1.1/}description")
    assert json.loads(description.text or "") == SETTINGS


def test_a_pdf_has_them_as_its_subject() -> None:
    pdf = encoded_plot(figure(), "pdf", {"seed": 7})
    streams = [each.partition(b"\nendstream")[0] for each in pdf.split(b"stream\n")[1:]]
    plain = pdf + b"".join(zlib.decompressobj().decompress(each) for each in streams if each[:1] == b"x")
    assert b"/Subject" in plain
    assert b'"seed": 7' in plain

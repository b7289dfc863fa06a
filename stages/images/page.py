"""A page of pictures: rows under the labels of their columns, with titles, a colour bar and a caption.

Pictures are on the page pixel for pixel. All else is drawn by matplotlib.
"""

from __future__ import annotations

import dataclasses
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image

from stages.images.drawing import COLOURS, GREY, enlarged

GAP = 4
"""Pixels between pictures, and around all of them; `ACROSS` times as many between rows that are side by side."""
ACROSS = 6
TEXT = 14  # pixels high, at least
LETTERS = 96  # letters' heights across a wide page, whose text is larger: it is looked at scaled down
FONT = "DejaVu Sans"  # which matplotlib brings along
DPI = 64  # a power of two, so that sizes in inches are exact


def labelled_grid(
    rows: Sequence[Sequence[np.ndarray]],
    labels: Sequence[str],
    caption: str,
    titles: Sequence[str] = (),
    *,
    groups: Sequence[str] = (),
    across: int = 1,
    scale: tuple[str, str] | None = None,
) -> Image.Image:
    """Images (H, W, 3) uint8, row by row, under one label for each column and over a caption. Images of one column
    are of one size. Each row has a title above it, or none has. All text is wrapped to its place.

    `groups`: for each column what stands above its label and those of its neighbours of the same group, or "".
    `across`: rows side by side, each under labels of its own. `scale`: what the ends of the colour bar mean, low and
    high; without it there is no bar.
    """
    assert all(len(row) == len(labels) for row in rows), (len(labels), [len(row) for row in rows])
    shown = [[enlarged(image) for image in row] for row in rows]
    widths = [image.shape[1] for image in shown[0]]
    width = sum(widths) + GAP * (len(widths) - 1)
    across = min(across, len(rows))
    lefts = [GAP + number * (width + ACROSS * GAP) for number in range(across)]
    page = _Page(lefts[-1] + width + GAP)
    spans = _spans(groups, widths)
    if any(name for name, _, _ in spans):
        page.strip([_Words(left + at, name, space, bold=True) for left in lefts for name, at, space in spans])
        rules = [_Picture(left + at, _rule(space)) for left in lefts for name, at, space in spans if name]
        page.strip(rules)
    places = [sum(widths[:number]) + GAP * number for number in range(len(widths))]
    columns = list(zip(labels, places, widths, strict=True))
    page.strip([_Words(left + at, label, space) for left in lefts for label, at, space in columns])
    for start in range(0, len(shown), across):
        beside = list(zip(lefts, shown[start : start + across], strict=False))
        if titles:
            page.top += 2 * GAP
            page.strip(
                [_Words(left, title, width) for left, title in zip(lefts, titles[start : start + across], strict=False)]
            )
        page.strip([_Picture(left + at, image) for left, row in beside for at, image in zip(places, row, strict=True)])
    page.top += 2 * GAP
    if scale is not None:
        page.bar(*scale)
    page.strip([_Words(GAP, caption, page.width - 2 * GAP)])
    return page.drawn()


@dataclasses.dataclass(frozen=True)
class _Words:
    left: int
    text: str
    width: int
    bold: bool = False


@dataclasses.dataclass(frozen=True)
class _Picture:
    left: int
    pixels: np.ndarray


class _Page:
    """What is on it so far, down to `top`."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.top = GAP
        self.size = min(max(TEXT, width // LETTERS), 2 * TEXT)
        self._pictures: list[tuple[int, int, np.ndarray]] = []
        self._lines: list[tuple[int, int, str, bool]] = []
        self._bar: tuple[int, int, int, int] | None = None
        self._fonts = {bold: _font(self.size, bold) for bold in (False, True)}
        self._measure = RendererAgg(1, 1, DPI)

    def strip(self, items: Sequence[_Words | _Picture]) -> None:
        """Adds what is beside each other."""
        bottom = self.top
        for item in items:
            if isinstance(item, _Picture):
                self._pictures.append((item.left, self.top, item.pixels))
                bottom = max(bottom, self.top + len(item.pixels))
            else:
                lines = self._wrapped(item)
                self._lines += [
                    (item.left, self.top + number * self._line, line, item.bold) for number, line in enumerate(lines)
                ]
                bottom = max(bottom, self.top + self._line * len(lines))
        self.top = bottom + GAP

    def bar(self, low: str, high: str) -> None:
        """Adds a colour bar between the words for its ends."""
        left = GAP + self._length(low, False) + 2 * GAP
        length = min(12 * self.size, self.width // 3)
        self._bar = left, self.top + self._line // 5, length, self.size
        after = left + length + 2 * GAP
        self.strip([_Words(GAP, low, self.width), _Words(after, high, self.width - after)])

    def drawn(self) -> Image.Image:
        figure = Figure(figsize=(self.width / DPI, self.top / DPI), dpi=DPI, facecolor="white")
        for left, top, pixels in self._pictures:
            figure.figimage(pixels, left, self.top - top - len(pixels))
        for left, top, line, bold in self._lines:
            baseline = 1 - (top + self.size) / self.top
            figure.text(left / self.width, baseline, line, fontproperties=self._fonts[bold], parse_math=False)
        if self._bar is not None:
            left, top, length, height = self._bar
            axes = figure.add_axes(
                (left / self.width, 1 - (top + height) / self.top, length / self.width, height / self.top)
            )
            bar = figure.colorbar(ScalarMappable(cmap=COLOURS), cax=axes, orientation="horizontal", ticks=[])
            bar.outline.set_visible(False)
        canvas = FigureCanvasAgg(figure)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph ")  # file names are in all languages, the font is not
            canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())

    @property
    def _line(self) -> int:
        return round(self.size * 1.4)

    def _length(self, text: str, bold: bool) -> int:
        return int(self._measure.get_text_width_height_descent(text, self._fonts[bold], ismath=False)[0]) + 1

    def _wrapped(self, words: _Words) -> list[str]:
        """The lines of a text, broken between words, or within one that is too long."""
        lines = []
        text = words.text.encode(errors="replace").decode()  # file names may be no text
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph ")
            for paragraph in text.splitlines():
                line = ""
                for word in paragraph.split(" "):
                    if line and self._length(f"{line} {word}", words.bold) > words.width:
                        lines.append(line)
                        line = word
                    else:
                        line = f"{line} {word}" if line else word
                    while self._length(line, words.bold) > words.width and len(line) > 1:
                        fitting = self._fitting(line, words)
                        lines.append(line[:fitting])
                        line = line[fitting:]
                lines.append(line)
        return lines

    def _fitting(self, line: str, words: _Words) -> int:
        """Its first letters that fit, at least one."""
        lengths = range(1, len(line))
        return max(1, bisect_right(lengths, words.width, key=lambda letters: self._length(line[:letters], words.bold)))


def _font(size: int, bold: bool) -> FontProperties:
    return FontProperties(family=FONT, size=size * 72 / DPI, weight="bold" if bold else "normal")


def _spans(groups: Sequence[str], widths: Sequence[int]) -> list[tuple[str, int, int]]:
    """Each group of neighbouring columns: its name, where it begins, and how wide it is."""
    spans = []
    start = 0
    for name, columns in groupby(zip(groups, widths, strict=False), key=lambda column: column[0]):
        of_group = [width for _, width in columns]
        width = sum(of_group) + GAP * (len(of_group) - 1)
        spans.append((name, start, width))
        start += width + GAP
    return spans


def _rule(width: int) -> np.ndarray:
    return np.full((2, width, 3), GREY, np.uint8)

"""Pixels of views are kept in memory, in a file, or not at all: what comes out is the same."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from stages.samples import rendered_views
from stages.samples.rendered_views import RenderedViews

SIZE = 4


def pixels_of(number: int) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), number, dtype=np.uint8)


@pytest.fixture(params=["memory", "file", "no room"])
def views(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> RenderedViews:
    """Of ten views."""
    if request.param != "memory":
        monkeypatch.setattr(rendered_views, "MEMORY_BYTES", 10 * SIZE * SIZE * 3 - 1)
    if request.param == "no room":
        monkeypatch.setattr(rendered_views, "FILE_BYTES", 10 * SIZE * SIZE * 3 - 1)
    made = RenderedViews(10, SIZE)
    assert made.keeps is (request.param != "no room")
    assert isinstance(made._pixels, np.memmap) is (request.param == "file")
    return made


def test_the_same_pixels_come_out_each_time_and_are_rendered_once_where_there_is_room(views: RenderedViews) -> None:
    rendered: Counter[int] = Counter()

    def look(number: int) -> np.ndarray:
        def render() -> np.ndarray:
            rendered[number] += 1
            return pixels_of(number)

        return views.get(("tar", str(number), 0), render)

    for _ in range(3):
        for number in range(10):
            assert (look(number) == number).all()
    assert set(rendered.values()) == {1 if views.keeps else 3}


def test_threads_that_ask_for_one_view_at_once_take_no_more_than_its_room(views: RenderedViews) -> None:
    with ThreadPoolExecutor(8) as pool:
        asked = [number % 10 for number in range(400)]
        found = list(pool.map(lambda number: views.get(number, lambda: pixels_of(number)), asked))
    assert [int(pixels[0, 0, 0]) for pixels in found] == asked


def test_what_cannot_be_rendered_is_refused_each_time_and_takes_no_room(views: RenderedViews) -> None:
    def render() -> np.ndarray:
        raise ValueError("truncated")

    for _ in range(20):
        with pytest.raises(ValueError, match=r"^truncated$"):
            views.get("cut", render)
    assert (views.get("cut", lambda: pixels_of(7)) == 7).all()

"""What a score store holds: what is wrong with it is found, and the statistics of patches are true."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from repository import ROOT

from storage.patch_store import PatchStore
from storage.scores import CONTENT, ShardScores, check_scores, patch_statistics, read_scores

N_PATCHES, VIEWS, MASKS = 9, 2, 4
SETTINGS = {"patches": N_PATCHES, "views": VIEWS, "masks": MASKS, "mae.image_size": 24, "mae.patch_size": 8}


def some_scores(n: int = 3) -> ShardScores:
    """Two rounds of a partition into masks of 5 and 4 patches."""
    rng = np.random.default_rng(n)
    shape = (n, VIEWS, MASKS, 5)
    visible = np.full(shape, -1, np.int16)
    for sample, view, first in np.ndindex(n, VIEWS, MASKS // 2):
        deck = rng.permutation(N_PATCHES)
        visible[sample, view, 2 * first] = np.sort(deck[:5])
        visible[sample, view, 2 * first + 1, :4] = np.sort(deck[5:])
    score = np.where(visible >= 0, rng.lognormal(size=shape), np.nan).astype(np.float32)
    return ShardScores(
        key=np.array([f"n0/image_{number}" for number in range(n)], dtype=object),
        score=score,
        visible=visible,
        box=np.tile(np.array([0, 3, 40, 40], np.int32), (n, VIEWS, 1)),
        flip=rng.random((n, VIEWS)) < 0.5,
    )


def found_in(scores: ShardScores) -> list[str]:
    return scores.check(N_PATCHES, VIEWS, MASKS)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_nothing_is_found_in_good_scores(n: int) -> None:
    assert found_in(some_scores(n)) == []


def set_to(name: str, index: tuple[int, ...], value: float) -> Callable[[ShardScores], ShardScores]:
    def change(scores: ShardScores) -> ShardScores:
        array = getattr(scores, name).copy()
        array[index] = value
        return dataclasses.replace(scores, **{name: array})

    return change


def replaced(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[ShardScores], ShardScores]:
    return lambda scores: dataclasses.replace(scores, **{name: change(getattr(scores, name))})


LAST_OF_SHORT = (1, 0, 1, 4)  # padding


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (replaced("key", lambda key: key[:-1]), r"score: expected kind f and shape \(2, .* got .* \(3, "),
        (replaced("key", lambda key: np.arange(len(key))), "key: expected kind OTU and shape"),
        (
            replaced("score", lambda score: score[:, :, :3]),
            r"score: expected .*\(3, 2, 4, 5\), .*\(3, 2, 3, 5\)",
        ),
        (replaced("score", lambda score: score[:, :1]), "score: expected kind f and shape"),
        (replaced("score", lambda score: score[0]), "score: expected kind f and shape"),
        (replaced("score", lambda score: (score > 1).astype(np.int32)), "score: expected kind f"),
        (replaced("visible", lambda visible: visible[..., :4]), "visible: expected kind i and shape"),
        (replaced("visible", lambda visible: visible.astype(np.float32)), "visible: expected kind i"),
        (replaced("box", lambda box: box[..., :3]), "box: expected kind i and shape"),
        (replaced("flip", lambda flip: flip[:-1]), "flip: expected kind b and shape"),
        (replaced("flip", lambda flip: flip.astype(np.int8)), "flip: expected kind b"),
        (replaced("key", lambda key: key[[0, 1, 1]]), "key: two samples have the same one"),
        (replaced("visible", lambda visible: visible[..., ::-1]), "visible: not sorted"),
        (replaced("visible", lambda visible: np.maximum(visible, 3)), "visible: not sorted"),
        (set_to("visible", (0, 0, 0, 2), -1), "visible: not sorted"),
        (set_to("visible", (0, 0, 0, 4), N_PATCHES), "visible: expected indices below 9"),
        (set_to("visible", LAST_OF_SHORT, -2), "visible: expected indices below 9"),
        (set_to("visible", (2, 1, 3), -1), "visible: a mask that shows no patch"),
        (set_to("score", (0, 0, 0, 0), np.nan), "score: not a number for each visible patch"),
        (set_to("score", (0, 0, 0, 0), np.inf), "score: not a number for each visible patch"),
        (set_to("score", LAST_OF_SHORT, 0.5), "score: not a number for each visible patch"),
        (set_to("box", (1, 1, 2), 0), "box: not within an image"),
        (set_to("box", (1, 1, 3), -4), "box: not within an image"),
        (set_to("box", (1, 1, 0), -1), "box: not within an image"),
    ],
)
def test_each_kind_of_wrongness_is_found(change: Callable[[ShardScores], ShardScores], finding: str) -> None:
    found = found_in(change(some_scores()))
    assert any(re.match(finding, each) for each in found), found


def test_scores_are_read_back_from_a_store_and_checked(tmp_path: Path) -> None:
    store = PatchStore.create_or_open(str(tmp_path / "store"), CONTENT, SETTINGS)
    scores = some_scores()
    store.write_shard("a", scores.arrays(), samples=3, left_out=[], tar_bytes=1, tar_md5="")
    read = read_scores(store, "a")
    for name, array in scores.arrays().items():
        np.testing.assert_array_equal(getattr(read, name), array)
    assert check_scores(store.read_shard("a"), SETTINGS) == (3, [])
    assert check_scores(store.read_shard("a"), {**SETTINGS, "patches": 7})[1] == ["visible: expected indices below 7"]
    with pytest.raises(FileNotFoundError):
        read_scores(store, "b")


@pytest.mark.parametrize("wrong", [{}, {"extra": np.zeros(3)}])
def test_other_arrays_are_no_scores(wrong: dict[str, np.ndarray]) -> None:
    arrays = {**some_scores().arrays(), **wrong}
    if not wrong:
        del arrays["flip"]
    with pytest.raises(ValueError, match=r"expected arrays \['box', 'flip', 'key', 'score', 'visible'\], got"):
        ShardScores.from_arrays(arrays)


def with_patches_seldom_shown() -> ShardScores:
    """Patch 0 of the first sample is never shown, patch 1 once."""
    scores = some_scores()
    visible, score = scores.visible.copy(), scores.score.copy()
    visible[0, 0] = [[1, 2, 3, -1, -1], [2, 3, 4, 5, -1], [2, 3, 6, 7, 8], [2, 3, 4, 6, 8]]
    score[0, 0] = np.where(visible[0, 0] >= 0, np.arange(20).reshape(4, 5) ** 2, np.nan)
    return dataclasses.replace(scores, visible=visible, score=score)


@pytest.mark.parametrize("scores", [some_scores(), some_scores(0), with_patches_seldom_shown()])
def test_statistics_of_patches_are_those_of_a_plain_loop(scores: ShardScores) -> None:
    found = patch_statistics(scores, N_PATCHES)
    n = len(scores.key)
    for array in (found.mean, found.spread, found.count):
        assert array.shape == (n, VIEWS, N_PATCHES)
    for sample, view, patch in np.ndindex(n, VIEWS, N_PATCHES):
        values = scores.score[sample, view][scores.visible[sample, view] == patch].astype(np.float64)
        mean = values.mean() if len(values) else np.nan
        spread = values.std(ddof=1) if len(values) > 1 else np.nan
        assert found.count[sample, view, patch] == len(values)
        np.testing.assert_allclose(found.mean[sample, view, patch], mean, rtol=1e-6)
        np.testing.assert_allclose(found.spread[sample, view, patch], spread, rtol=1e-5)


def test_a_partition_gives_each_patch_as_many_scores_as_rounds() -> None:
    assert (patch_statistics(some_scores(), N_PATCHES).count == MASKS // 2).all()


def test_the_examples_of_the_description_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    description = (ROOT / "docs" / "store.md").read_text(encoding="utf-8")
    with_zarr, by_name, with_storage, as_dense, *_ = re.findall(r"```python\n(.*?)```", description, re.DOTALL)
    store = PatchStore.create_or_open(str(tmp_path / "scores"), CONTENT, SETTINGS)
    store.write_shard("tar-0", some_scores().arrays(), samples=3, left_out=[], tar_bytes=1, tar_md5="")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(with_zarr, {})
        if importlib.util.find_spec("xarray") and importlib.util.find_spec("dask"):
            exec(by_name.replace("photos-000000", "tar-0"), {})
        exec(with_storage, {})
        names: dict[str, np.ndarray] = {}
        exec(as_dense, names)
    assert names["maps"].shape == (3, 3, 3)
    assert capsys.readouterr().out.splitlines() == [
        str(SETTINGS),
        "tar-0 (3, 2, 4, 5) (3, 2, 4, 5)",
        "['n0/image_0'] (3, 2, 9) (3, 2, 9) 2",
    ]

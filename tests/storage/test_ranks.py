"""What a store of ranks holds: it is read back as it was, and what is wrong with it is found."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from storage.patch_store import PatchStore
from storage.ranks import CONTENT, ShardRanks, check_ranks, read_ranks

N_PATCHES, VIEWS = 9, 2
SETTINGS = {"patches": N_PATCHES, "views": VIEWS}


def some_ranks(n: int = 3) -> ShardRanks:
    rng = np.random.default_rng(n)
    return ShardRanks(
        key=np.array([f"n0/image_{number}" for number in range(n)], dtype=object),
        score=rng.normal(size=(n, VIEWS, N_PATCHES)).astype(np.float32),
        box=np.tile(np.array([0, 3, 40, 40], np.int32), (n, VIEWS, 1)),
        flip=rng.random((n, VIEWS)) < 0.5,
    )


@pytest.mark.parametrize("n", [0, 1, 3])
def test_nothing_is_found_in_good_ranks(n: int) -> None:
    assert some_ranks(n).check(N_PATCHES, VIEWS) == []


def replaced(name: str, change: Callable[[np.ndarray], np.ndarray]) -> ShardRanks:
    ranks = some_ranks()
    return dataclasses.replace(ranks, **{name: change(getattr(ranks, name))})


def with_value(name: str, index: tuple[int, ...], value: float) -> ShardRanks:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = value
        return array

    return replaced(name, change)


@pytest.mark.parametrize(
    ("ranks", "finding"),
    [
        (replaced("score", lambda score: score[..., :-1]), r"score: expected kind f and shape \(3, 2, 9\), got f and"),
        (replaced("score", lambda score: score[:, :1]), "score: expected kind f and shape"),
        (replaced("score", lambda score: score.astype(np.int32)), "score: expected kind f"),
        (replaced("key", lambda key: key[:-1]), r"box: expected kind i and shape \(2, 2, 4\)"),
        (replaced("box", lambda box: box.astype(np.float32)), "box: expected kind i"),
        (replaced("flip", lambda flip: flip[:, 0]), "flip: expected kind b and shape"),
        (replaced("key", lambda key: key[[0, 1, 1]]), "key: two samples have the same one"),
        (with_value("score", (1, 1, 4), np.nan), "score: not a number for each patch"),
        (with_value("score", (0, 0, 0), -np.inf), "score: not a number for each patch"),
        (with_value("box", (1, 1, 2), 0), "box: not within an image"),
        (with_value("box", (1, 1, 0), -1), "box: not within an image"),
    ],
)
def test_each_kind_of_wrongness_is_found(ranks: ShardRanks, finding: str) -> None:
    found = ranks.check(N_PATCHES, VIEWS)
    assert any(re.match(finding, each) for each in found), found


def test_ranks_are_read_back_from_a_store_and_checked(tmp_path: Path) -> None:
    store = PatchStore.create_or_open(str(tmp_path / "store"), CONTENT, SETTINGS)
    ranks = some_ranks()
    store.write_shard("a", ranks.arrays(), samples=3, left_out=[], tar_bytes=1, tar_md5="")
    read = read_ranks(store, "a")
    for name, array in ranks.arrays().items():
        np.testing.assert_array_equal(getattr(read, name), array)
    assert check_ranks(store.read_shard("a"), SETTINGS) == (3, [])
    (finding,) = check_ranks(store.read_shard("a"), {**SETTINGS, "patches": 16})[1]
    assert finding.startswith("score: expected kind f and shape (3, 2, 16)")


def test_arrays_of_something_else_are_refused() -> None:
    arrays = {**some_ranks().arrays(), "visible": np.zeros(3)}
    with pytest.raises(ValueError, match=r"expected arrays \['box', 'flip', 'key', 'score'\], got .*'visible'\]"):
        check_ranks(arrays, SETTINGS)

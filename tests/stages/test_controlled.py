"""A store read with its masks' geometry controlled: fitted once, kept beside the scores, and the same for everybody."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scored_stores import lonely_scoring, write_scored
from scoring import files_of

from stages.density.control import fit_control
from stages.samples.controlled import CONTROL_FILE, ControlledStore, control_settings, with_control
from storage.dense_scores import open_dense, read_dense
from storage.patch_store import PatchStore
from storage.ranks import CONTENT as RANKS
from storage.scores import CONTENT, check_scores, patch_statistics, read_scores
from storage.verification import verify_shards

TARS = {"a": [f"a{number}" for number in range(8)], "b": [f"b{number}" for number in range(7)]}


@pytest.fixture
def store(tmp_path: Path) -> PatchStore:
    return write_scored(tmp_path, TARS, lonely_scoring, masks=8)


def test_none_is_the_store_itself_and_writes_nothing(store: PatchStore, tmp_path: Path) -> None:
    before = files_of(tmp_path / "scores")
    assert with_control(store, "none") is store
    assert control_settings(store) == {}
    assert files_of(tmp_path / "scores") == before


def test_scores_are_read_controlled_and_lie_on_disk_as_they_were(store: PatchStore, tmp_path: Path) -> None:
    before = files_of(tmp_path / "scores")
    controlled = with_control(store, "geometry")
    assert isinstance(controlled, ControlledStore)
    assert {**before, CONTROL_FILE: files_of(tmp_path / "scores")[CONTROL_FILE]} == files_of(tmp_path / "scores")
    fitted = fit_control([read_scores(store, name) for name in "ab"], store.settings)
    assert fitted.explained == controlled.control.explained > 0.3
    for name in "ab":
        raw, read = read_scores(store, name), read_scores(controlled, name)
        np.testing.assert_array_equal(read.visible, raw.visible)
        np.testing.assert_array_equal(read.score, fitted.apply(raw.key.tolist(), raw.visible, raw.score))
        assert check_scores(read.arrays(), store.settings) == (len(raw.key), [])
        spreads = [np.nanmean(patch_statistics(each, 16).spread) for each in (raw, read)]
        assert spreads[1] < 0.5 * spreads[0]
        mean = patch_statistics(read, 16).mean
        dense = read_dense(with_control(open_dense(str(tmp_path / "scores")), "geometry"), name)
        np.testing.assert_array_equal(dense.score, mean)


def test_what_was_fitted_once_is_read_by_all_who_come_later(store: PatchStore, tmp_path: Path) -> None:
    first = with_control(store, "geometry")
    file = tmp_path / "scores" / CONTROL_FILE
    written = file.read_bytes()
    again = with_control(PatchStore.open(str(tmp_path / "scores"), CONTENT), "geometry")
    assert file.read_bytes() == written
    assert control_settings(again) == control_settings(first)
    assert control_settings(again) == {"control": "geometry", "control.sha256": json.loads(written)["sha256"]}
    file.unlink()
    with_control(store, "geometry")
    assert file.read_bytes() == written, "fitted anew from the same scores it is the same"


def test_a_store_with_a_control_is_whole(store: PatchStore, tmp_path: Path) -> None:
    with_control(store, "geometry")
    assert all(not each.findings for each in verify_shards(store, check_scores))
    assert store.books.done() == {"a", "b"}


def changed(**fields: Any) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps({**json.loads(data), **fields}).encode()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:100], "expected a JSON object, got something else"),
        (lambda data: b"[]", "expected a JSON object, got a list"),
        (lambda data: b"{}", "damaged: control: Field required"),
        (changed(coefficients=[["x"]]), r"damaged: coefficients\.0\.0: Input should be a valid number"),
        (changed(explained=float("nan")), "damaged: explained: Input should be a finite number"),
        (changed(explained=0.9), "damaged: its content does not have the checksum that it names"),
        (lambda data: data.replace(b'"images": 15', b'"images": 16'), "does not have the checksum"),
    ],
)
def test_a_control_that_is_damaged_is_refused_by_name(
    damage: Callable[[bytes], bytes], message: str, store: PatchStore, tmp_path: Path
) -> None:
    with_control(store, "geometry")
    file = tmp_path / "scores" / CONTROL_FILE
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=message) as raised:
        with_control(store, "geometry")
    assert str(raised.value).startswith(str(tmp_path / "scores" / CONTROL_FILE))


def test_the_control_of_another_store_is_refused(store: PatchStore, tmp_path: Path) -> None:
    with_control(store, "geometry")
    other = write_scored(tmp_path / "other", TARS, lonely_scoring, masks=12)
    (tmp_path / "other/scores" / CONTROL_FILE).write_bytes((tmp_path / "scores" / CONTROL_FILE).read_bytes())
    with pytest.raises(ValueError, match=r"control\.json: scores: expected [0-9a-f]{64}, got [0-9a-f]{64}\. Delete it"):
        with_control(other, "geometry")


def test_ranks_have_no_masks_to_control(tmp_path: Path) -> None:
    store = PatchStore.create_or_open(str(tmp_path / "ranks"), RANKS, {"patches": 16})
    assert with_control(store, "none") is store
    with pytest.raises(ValueError, match="control: expected 'none' for a store of ranks, got 'geometry'"):
        with_control(store, "geometry")


def test_a_store_in_which_nothing_is_done_is_refused(tmp_path: Path) -> None:
    empty = write_scored(tmp_path, {}, lonely_scoring)
    with pytest.raises(ValueError, match=r"expected scores of several images, .* got 0 images"):
        with_control(empty, "geometry")
    assert not (tmp_path / "scores" / CONTROL_FILE).exists()

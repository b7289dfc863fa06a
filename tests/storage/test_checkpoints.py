"""Checkpoints of a training: the newest whole one is found, whatever happened to the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.checkpoints import delete_checkpoints, load_checkpoint, save_checkpoint
from storage.locations import LocalFiles, locate


@pytest.fixture
def folder(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "checkpoints")


def test_no_folder_holds_no_checkpoint(folder: LocalFiles) -> None:
    assert load_checkpoint(folder) is None


def test_the_newest_by_step_is_loaded_in_whatever_order_they_were_saved(folder: LocalFiles) -> None:
    for step in (900, 100_000_000, 1000):  # more digits than the names are padded to
        other = folder.child(str(step))
        save_checkpoint(other, step, f"after {step}".encode())
        folder.write(other.names()[0], other.read(other.names()[0]))
    assert load_checkpoint(folder) == (100_000_000, b"after 100000000")


def test_only_the_newest_are_kept(folder: LocalFiles) -> None:
    for step in range(1, 6):
        save_checkpoint(folder, step, b"state %d" % step, keep=2)
    assert [name.split(".")[0] for name in folder.names()] == ["state-00000004", "state-00000005"]


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-1], lambda data: b"", lambda data: b"X" + data[1:]],
    ids=["cut", "empty", "changed"],
)
def test_a_damaged_checkpoint_is_passed_over_with_its_name(
    folder: LocalFiles, damage, caplog: pytest.LogCaptureFixture
) -> None:
    save_checkpoint(folder, 1, b"first")
    save_checkpoint(folder, 2, b"second")
    newest = folder.root / folder.names()[-1]
    newest.write_bytes(damage(newest.read_bytes()))
    assert load_checkpoint(folder) == (1, b"first")
    assert newest.name in caplog.text


def test_if_all_are_damaged_there_is_none_and_that_is_told(
    folder: LocalFiles, caplog: pytest.LogCaptureFixture
) -> None:
    save_checkpoint(folder, 1, b"first")
    (folder.root / folder.names()[0]).write_bytes(b"")
    assert load_checkpoint(folder) is None
    assert "no checkpoint is whole: the training starts from the beginning" in caplog.text


def test_a_training_that_went_back_behind_a_damaged_checkpoint_keeps_the_whole_ones(folder: LocalFiles) -> None:
    """The damaged one, of a later step or of another run of the same, would be the newest by its name for ever."""
    for step in (100, 200):
        save_checkpoint(folder, step, b"state %d" % step)
    newest = folder.root / folder.names()[-1]
    newest.write_bytes(b"damaged")
    save_checkpoint(folder, 150, b"state 150")
    assert [name.split(".")[0] for name in folder.names()] == ["state-00000100", "state-00000150"]
    save_checkpoint(folder, 150, b"on another machine")
    assert load_checkpoint(folder) == (150, b"on another machine")
    assert len(folder.names()) == 2


def test_other_files_are_neither_read_nor_deleted(folder: LocalFiles) -> None:
    folder.write("state-00000009.pt", b"no checksum")
    folder.write("notes.txt", b"mine")
    save_checkpoint(folder, 3, b"state", keep=1)
    assert load_checkpoint(folder) == (3, b"state")
    delete_checkpoints(folder)
    assert folder.names() == ["notes.txt", "state-00000009.pt"]


def test_they_live_in_object_stores_too() -> None:
    pytest.importorskip("obstore")
    bucket = locate("memory://checkpoints/run")
    save_checkpoint(bucket, 7, b"state")
    assert load_checkpoint(bucket) == (7, b"state")

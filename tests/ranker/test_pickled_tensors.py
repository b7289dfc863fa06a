"""Pickled checkpoints that are damaged, packed or of something else."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import PurePosixPath
from typing import Any

import pytest
import torch
from torch import nn

from ranker.pickled_tensors import unpickle_tensors

WEIGHTS = {f"blocks.{number}": torch.full((64,), float(number)) for number in range(3)}


def saved(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def unpacked(data: bytes, compression: int) -> bytes:
    """The same records in an archive of another kind."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", compression) as new:
        for record in old.infolist():
            new.writestr(record.filename, old.read(record))
    return file.getvalue()


@pytest.mark.parametrize("old_format", [False, True])
def test_what_was_saved_is_read_in_both_formats_of_pytorch(old_format: bool) -> None:
    found = unpickle_tensors(saved(WEIGHTS, _use_new_zipfile_serialization=not old_format), "x.pth")
    assert all(torch.equal(found[name], tensor) for name, tensor in WEIGHTS.items())


@pytest.mark.parametrize("number", range(3))
def test_a_flipped_bit_in_a_tensor_is_refused_which_pytorch_reads_without_a_word(number: int) -> None:
    data = saved(WEIGHTS)
    damaged = flipped(data, data.index(WEIGHTS[f"blocks.{number}"].numpy().tobytes()) + 100)
    assert not torch.equal(torch.load(io.BytesIO(damaged))[f"blocks.{number}"], WEIGHTS[f"blocks.{number}"])
    with pytest.raises(ValueError, match=rf"^x\.pth: damaged: archive/data/{number}, a part of it, "):
        unpickle_tensors(damaged, "x.pth")


def test_a_file_that_was_saved_without_checksums_is_read() -> None:
    try:
        torch.serialization.set_crc32_options(False)
        data = saved(WEIGHTS)
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip()
    assert unpickle_tensors(data, "x.pth").keys() == WEIGHTS.keys()


def test_an_archive_that_takes_more_memory_than_its_file_is_refused() -> None:
    bomb = unpacked(saved({"a": torch.zeros(10**6)}), zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10**5
    with pytest.raises(ValueError, match=rf"^x\.pth: expected records that fit into {len(bomb)} bytes"):
        unpickle_tensors(bomb, "x.pth")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\x1a\n", "it does not begin as files of torch.save do"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it does not begin as files of torch.save do"),
        (saved(nn.Linear(2, 2)), r"it holds a torch\.nn\.modules\.linear\.Linear, and only tensors and plain"),
        (saved({"at": PurePosixPath("x")}), r"it holds a pathlib\.\S*PurePosixPath, and only tensors and plain"),
        (saved(WEIGHTS)[:400], "failed finding central directory"),
        (pickle.dumps({"a": 1}, protocol=2), "Invalid magic number"),
        (b"\x80\x02" + b"(" * 100_000, ".+"),
        (b"\x80\x02" + b"]" * 100_000 + b"." * 2, ".+"),
    ],
    ids=["empty", "a picture", "a pointer", "a module", "a path", "cut", "a plain pickle", "marks", "lists"],
)
def test_another_file_is_refused_with_the_reason_and_no_advice_to_unpickle_it_all_the_same(
    data: bytes, reason: str
) -> None:
    message = rf"^x\.pth: not a checkpoint of tensors that can be read safely: .*{reason}"
    with pytest.raises(ValueError, match=message) as refused:
        unpickle_tensors(data, "x.pth")
    told = str(refused.value)
    assert told.isprintable()
    assert len(told) < 300
    assert "weights_only" not in told

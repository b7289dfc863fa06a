"""Safetensors files whose header lies, and files of tensors of either kind."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from ranker.tensor_files import decode_safetensors, read_checkpoint


def file_of(header: Any, data: bytes = bytes(8)) -> bytes:
    """A safetensors file with any header at all."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: str = "F32", shape: tuple[int, ...] = (2,), begin: int = 0, end: int = 8) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_the_headers_below_are_those_of_files_but_for_what_is_wrong_in_them() -> None:
    assert decode_safetensors(file_of({"a": tensor()}), "x")["a"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        struct.pack("<Q", 2**60) + b"{}",
        file_of(b"[" * 100_000),
        file_of(b"\xff\xfe{}"),
        file_of({"a": tensor(), "b": tensor()}),
        file_of({"a": tensor(begin=4, end=12)}, bytes(12)),
        file_of({"a": tensor(end=16)}),
        file_of({"a": tensor(shape=(3,))}),
        file_of({"a": tensor(shape=(2**62, 2**62))}),
        file_of({"a": tensor("F33")}),
        file_of({"a": tensor()}, bytes(9)),
    ],
    ids=["empty", "length", "nested", "utf-8", "overlap", "hole", "beyond", "shape", "overflow", "dtype", "more"],
)
def test_a_header_that_lies_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^x\.safetensors: expected a whole safetensors file: ") as refused:
        decode_safetensors(data, "x.safetensors")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def test_a_dtype_that_pytorch_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^x: expected tensors that PyTorch has a dtype for, got F4"):
        decode_safetensors(file_of({"a": tensor("F4", (16,))}), "x")


def test_the_kind_of_a_file_is_seen_in_it_whatever_its_name(tmp_path: Path) -> None:
    weights = {"module.a": torch.ones(2)}
    pickled = io.BytesIO()
    torch.save({"model": weights, "epoch": 3}, pickled)
    assert read_checkpoint(safetensors.torch.save(weights), "x.pth")[0].keys() == {"a"}
    found, content = read_checkpoint(pickled.getvalue(), "x.safetensors")
    assert (found.keys(), content["epoch"]) == ({"a"}, 3)


def test_a_checkpoint_without_tensors_is_refused_with_what_it_holds() -> None:
    pickled = io.BytesIO()
    torch.save({"student": {"a": torch.ones(2)}, "epoch": 3}, pickled)
    with pytest.raises(ValueError, match=r"^x: expected tensors by name, under a key .* got epoch, student$"):
        read_checkpoint(pickled.getvalue(), "x")

"""What the metadata of arrays claims is held against the bytes that there are before memory is taken."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from storage.array_files import decode_arrays, encode_arrays

ROWS = 3
Files = dict[str, bytes]


def arrays() -> dict[str, np.ndarray]:
    return {"key": np.array(["a", "b", "ä"], dtype=object), "score": np.arange(12, dtype=np.float32).reshape(3, 1, 4)}


def changed(name: str, **fields: Any) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        files[f"{name}/zarr.json"] = json.dumps({**json.loads(files[f"{name}/zarr.json"]), **fields}).encode()

    return change


def chunks(*shape: int) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": list(shape)}}


def one_chunk(shape: list[int], **fields: Any) -> Callable[[Files], None]:
    return changed("score", shape=shape, chunk_grid=chunks(*shape), **fields)


def claim_in_the_chunk(files: Files) -> None:
    """Its header, as well as the metadata, says 2 GiB."""
    one_chunk([3, 1, 2**31 // 12])(files)
    data = bytearray(files["score/c/0/0/0"])
    data[4:8] = (2**31 // 12 * 12).to_bytes(4, "little")
    files["score/c/0/0/0"] = bytes(data)


LONG_TEXT = {"name": "null_terminated_bytes", "configuration": {"length_bytes": 2**40}}
A_GROUP = b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'
GZIP = {"name": "gzip", "configuration": {"level": 5}}


def other_codecs(files: Files) -> None:
    one_chunk([3, 1, 2**20], codecs=[{"name": "bytes", "configuration": {"endian": "little"}}, GZIP])(files)


def put(path: str, data: bytes) -> Callable[[Files], None]:
    return lambda files: files.update({path: data})


@pytest.mark.parametrize(
    ("change", "file"),
    [
        (changed("score", shape=[3, 1, 2**33]), "score/zarr.json: shape"),
        (changed("score", shape=[2**50, 1, 4]), "score/zarr.json: expected 3 rows"),
        (changed("score", shape=[]), "score/zarr.json: "),
        (changed("score", shape=[3, -1, 4]), "score/zarr.json: "),
        (changed("score", shape=[3, 1, 10**400]), "score/zarr.json: "),
        (one_chunk([3, 1, 2**33]), "score/c/0/0/0: .* not the 25769803776 values"),
        (one_chunk([3, 1, 2**26]), "score/c/0/0/0: .* not the 201326592 values"),
        (changed("key", shape=[3], chunk_grid=chunks(2**40)), "key/c/0: .* not the 1099511627776 values"),
        (claim_in_the_chunk, "score/c/0/0/0: "),
        (other_codecs, "score/c/0/0/0: expected codecs"),
        (changed("score", data_type="float99"), "score/zarr.json: "),
        (
            changed("score", data_type={"name": "null_terminated_bytes", "configuration": {"length_bytes": 2**40}}),
            "score",
        ),
        (put("score/zarr.json", b"{"), "score/zarr.json: "),
        (put("score/zarr.json", b"[" * 100_000), "score/zarr.json: "),
        (
            put("score/zarr.json", b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'),
            "score/zarr.json: expected an array",
        ),
        (put("zarr.json", b"null"), "zarr.json: "),
        (put("score/c/0/0/1", b"stray"), "score/zarr.json: .* means 1 files, got 2"),
        (
            lambda files: files.update({"score/c/0/0/1": files.pop("score/c/0/0/0")}),
            "score/zarr.json: .* means 1 files, got 1, or others",
        ),
        (put("score/c/0/0/0", b""), "score/c/0/0/0: cut short"),
        (lambda files: files.pop("key/c/0"), "key/zarr.json: .* means 1 files, got 0"),
    ],
)
def test_what_cannot_be_so_is_refused_by_file_without_taking_memory(change: Callable[[Files], Any], file: str) -> None:
    files = encode_arrays(arrays())
    change(files)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"^{file}") as refusal:
            decode_arrays(files, ROWS)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert len(str(refusal.value)) < 500


def test_more_values_than_the_settings_allow_are_refused() -> None:
    files = encode_arrays({"score": np.zeros((3, 1, 1000), np.float32)})
    assert decode_arrays(files, ROWS, 3000)["score"].shape == (3, 1, 1000)
    with pytest.raises(ValueError, match=r"^score/zarr.json: expected 2999 values at most by the"):
        decode_arrays(files, ROWS, 2999)


@pytest.mark.parametrize("rows", [0, 1, 3, 4096, 4097, 10_000])
def test_honest_arrays_are_read_as_they_were(rows: int) -> None:
    """Zeros too, which pack best of all."""
    given = {
        "key": np.array([f"k{number}" for number in range(rows)], dtype=object),
        "flip": np.zeros((rows, 1), bool),
        "score": np.zeros((rows, 1, 64), np.float32),
        "box": np.arange(rows * 4, dtype=np.int32).reshape(rows, 1, 4),
    }
    read = decode_arrays(encode_arrays(given), rows)
    assert read.keys() == given.keys()
    for name, values in given.items():
        assert read[name].tolist() == values.tolist()

"""The arrays of one shard as the files of a Zarr group, and back.

A chunk holds up to 4096 whole rows, coded as `bytes` (strings: `vlen-utf8`), `blosc` and `crc32c`; every chunk is
written. So what an array's metadata claims can be held against the bytes that there are before any memory is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, VLenUTF8Codec
from zarr.core.buffer.cpu import Buffer
from zarr.storage import MemoryStore

from storage.text import printable

ROWS_PER_CHUNK = 4096
BLOSC_HEADER = 16
"""Bytes; the number of bytes that a chunk unpacks to stands at 4 to 8."""
MOST_PACKED = 2**15
"""Bytes that one byte of blosc can stand for: zeros take an eight thousandth."""


def encode_arrays(
    arrays: Mapping[str, np.ndarray], dimensions: Mapping[str, tuple[str, ...]] | None = None
) -> dict[str, bytes]:
    """The files of a Zarr group with these arrays (n, ...), by path. `dimensions`: names of the axes of an array, which
    are written where there is one for each axis."""
    buffers: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(buffers), zarr_format=3)
    for name, values in arrays.items():
        is_text = values.dtype.kind in "OTU"
        axes = (dimensions or {}).get(name, ())
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=str if is_text else values.dtype,
            chunks=(max(1, min(len(values), ROWS_PER_CHUNK)), *values.shape[1:]),
            fill_value=np.nan if values.dtype.kind == "f" else None,
            compressors=[
                BloscCodec(cname="zstd", clevel=5, shuffle="noshuffle" if is_text else "bitshuffle"),
                Crc32cCodec(),
            ],
            dimension_names=axes if len(axes) == values.ndim else None,
            config={"write_empty_chunks": True},
        )
        array[...] = values
    return {name: buffer.to_bytes() for name, buffer in sorted(buffers.items())}


def decode_arrays(files: Mapping[str, bytes], rows: int, most: int | None = None) -> dict[str, np.ndarray]:
    """The arrays of a shard from all its files, by path.

    Raises ValueError beginning with the path of the file that is not as it must be: that cannot be decoded, or claims
    other than `rows` rows, more than `most` values, or what its chunks do not hold. Nothing is allocated for such.
    """
    with _named("zarr.json"):
        store = MemoryStore({path: Buffer.from_bytes(data) for path, data in files.items()})
        group = zarr.open_group(store, mode="r", zarr_format=3)
        names = sorted({path.partition("/")[0] for path in files if "/" in path})
    arrays = {}
    for name in names:
        with _named(f"{name}/zarr.json"):
            array = group[name]
            if not isinstance(array, zarr.Array):
                raise ValueError("expected an array, got a group")
            _check_claim(array, rows, most)
            chunks = _chunk_files(array, name, files)
        for path in chunks:
            with _named(path):
                _check_chunk(array, files[path])
        with _named(f"{name}/c"):
            arrays[name] = np.asarray(array[...])
    return arrays


def _check_claim(array: zarr.Array[Any], rows: int, most: int | None) -> None:
    if array.ndim == 0 or array.shape[0] != rows:
        raise ValueError(f"expected {rows} rows by the record, got shape {_told(array.shape)}")
    if most is not None and math.prod(array.shape) > most:
        raise ValueError(f"expected {most} values at most by the store's settings, got shape {_told(array.shape)}")


def _chunk_files(array: zarr.Array[Any], name: str, files: Mapping[str, bytes]) -> list[str]:
    """Paths of the array's chunks, all of which are there, and no others."""
    held = {path for path in files if path.startswith(f"{name}/") and path != f"{name}/zarr.json"}
    grid = [-(-length // size) for length, size in zip(array.shape, array.chunks, strict=True)]
    if math.prod(grid) == len(held):
        key = array.metadata.encode_chunk_key
        if (paths := {f"{name}/{key(place)}" for place in product(*map(range, grid))}) == held:
            return sorted(paths)
    shape = f"shape {_told(array.shape)} in chunks of {_told(array.chunks)}"
    raise ValueError(f"{shape} means {math.prod(grid)} files, got {len(held)}, or others")


def _check_chunk(array: zarr.Array[Any], data: bytes) -> None:
    codecs = [type(codec) for codec in array.metadata.codecs]  # type: ignore[union-attr]  # of format 3
    if codecs not in ([BytesCodec, BloscCodec, Crc32cCodec], [VLenUTF8Codec, BloscCodec, Crc32cCodec]):
        raise ValueError(f"expected codecs bytes or vlen-utf8, blosc, crc32c; got {_told(codecs)}")
    if len(data) < BLOSC_HEADER:
        raise ValueError(f"cut short: {len(data)} bytes")
    unpacked = int.from_bytes(data[4:8], "little")
    values = math.prod(array.chunks)
    least = values * array.dtype.itemsize if codecs[0] is BytesCodec else 4 + 4 * values  # of strings, the lengths
    fits = unpacked == least if codecs[0] is BytesCodec else unpacked >= least
    if not fits or unpacked > MOST_PACKED * len(data):
        raise ValueError(f"{len(data)} bytes that unpack to {unpacked}: not the {values} values that its array claims")


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Whatever the libraries make of bytes that someone wrote is a ValueError about `path`."""
    try:
        yield
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else f"cannot be decoded: {type(error).__name__}: {error}"
        raise ValueError(f"{printable(path)}: {printable(' '.join(reason.split()), 300)}") from None


def _told(value: object) -> str:
    return printable(str(value), 100)
